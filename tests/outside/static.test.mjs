// The static binary, built as the guide says: in an otherwise empty root folder, as the Containerfile starts it, and in little memory.
import test, { before } from 'node:test';
import assert from 'node:assert/strict';
import { copyFileSync, mkdirSync, readFileSync, readdirSync, rmdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { freePort, openStream, post, request, root, run, scratch, startServer, target, until, within } from '../common/support.mjs';
import { block } from './readme.mjs';

const built = path.join(target, 'static');
const binary = path.join(built, 'x86_64-unknown-linux-gnu/release/chatroom');
const asRoot = process.getuid() === 0 ? [] : ['unshare', '--map-root-user'];

before(async () => {
  const command = block('sh', 'crt-static');
  const { code, stderr } = await run('bash', ['-ec', command], { cwd: root, env: { ...process.env, CARGO_TARGET_DIR: built }, patience: 600_000 });
  assert.equal(code, 0, stderr);
});

/** A root folder that contains only the binary. */
function emptyRoot(t) {
  const folder = scratch(t);
  copyFileSync(binary, path.join(folder, 'chatroom'));
  assert.deepEqual(readdirSync(folder), ['chatroom']);
  return folder;
}

const inside = (folder) => [...asRoot, 'chroot', folder, '/chatroom'];

async function startInside(t, folder, options = [], more = {}) {
  const [command, ...before] = inside(folder);
  return startServer(t, options, { command, before, ...more });
}

test('it is static, and serves, streams and keeps messages in an empty root', async (t) => {
  assert.match((await run('ldd', [binary])).stdout, /statically linked/);
  const folder = emptyRoot(t);
  const first = await startInside(t, folder, ['--data', '/data']);
  const stream = await openStream(`${first.url}/chat?name=ada`);
  await stream.next('chat-room-connected');
  await post(first.url, 'kept');
  assert.equal((await stream.next('new-message')).data.text, 'kept');
  const page = await request(`${first.url}/`);
  assert.ok(page.status === 200 && page.text.includes('js/main.js'));
  // Without /dev/urandom, sessions must still be unguessable.
  const streams = [stream, await openStream(`${first.url}/chat`), await openStream(`${first.url}/chat`)];
  const sessions = streams.map(({ headers }) => headers['set-cookie'][0].match(/^chatroom-session=([0-9a-f]{32});/)[1]);
  assert.equal(new Set(sessions).size, 3);
  assert.equal((await request(`${first.url}/metrics`)).status, 200);
  assert.equal(await within(first.kill(), 'the end'), 0);

  const second = await startInside(t, folder, ['--data', '/data']);
  const { messages } = (await request(`${second.url}/chat/lobby/messages`)).json();
  assert.deepEqual(messages.map(({ text }) => text), ['kept']);
  assert.deepEqual(readdirSync(folder).sort(), ['chatroom', 'data']);
});

test('the Containerfile starts it, and its health check finds it well', async (t) => {
  const containerfile = block('dockerfile', 'FROM scratch');
  const line = (instruction) => containerfile.match(new RegExp(`^${instruction} (.*)$`, 'm'))[1];
  const [copied, place] = line('COPY').split(' ');
  assert.equal(path.join(built, copied.replace(/^target\//, '')), binary);
  const env = Object.fromEntries(line('ENV').split(' ').map((pair) => pair.split('=')));
  assert.equal(env.CHATROOM_LISTEN, `0.0.0.0:${line('EXPOSE')}`);
  assert.equal(env.CHATROOM_DATA, line('VOLUME'));
  env.CHATROOM_LISTEN = `127.0.0.1:${await freePort()}`;

  const folder = emptyRoot(t);
  const entry = JSON.parse(line('ENTRYPOINT'));
  const check = JSON.parse(line('HEALTHCHECK').replace(/^CMD /, ''));
  assert.deepEqual([entry, check[0]], [[place], place]);
  const [command, ...args] = [...asRoot, 'chroot', folder, ...check];
  const health = () => run(command, args, { env: { ...process.env, ...env } });
  assert.equal((await health()).code, 1);
  const server = await startInside(t, folder, [], { listen: env.CHATROOM_LISTEN, env: { ...process.env, ...env } });
  assert.deepEqual(await health(), { code: 0, stdout: '', stderr: '' });
  await post(server.url, 'kept');
  assert.match(readFileSync(path.join(folder, env.CHATROOM_DATA, 'messages.jsonl'), 'utf8'), /kept/);
});

test('200 clients in 64 rooms, talking, stay under 16 MB', async (t) => {
  const limit = 16_000_000;
  const group = memoryGroup(limit);
  t.diagnostic(group ? `limited by ${group.folder}` : 'no memory group may be made here: resident memory is measured instead');
  const before = group ? ['-c', `echo $$ > '${group.folder}/cgroup.procs' && exec "$0" "$@"`, binary] : ['-c', 'exec "$0" "$@"', binary];
  const options = ['--data', path.join(scratch(t), 'data'), '--message-rate', '0', '--max-streams-per-ip', '0'];
  const server = await startServer(t, options, { command: 'sh', before });
  if (group) t.after(async () => { await server.kill('SIGKILL'); await until(() => (rmdirSync(group.folder), true), 'the group to be empty'); });
  const clients = await Promise.all(Array.from({ length: 200 }, async (_, i) => {
    const stream = await openStream(`${server.url}/chat/room-${i % 64}?name=member-${i}`);
    await stream.next('chat-room-connected');
    return stream;
  }));
  const said = 40;
  for (let i = 0; i < said; i += 1) {
    const sent = await Promise.all(Array.from({ length: 64 }, (_, room) => post(server.url, `${i}: ${'x'.repeat(100)}`, { room: `room-${room}` })));
    assert.ok(sent.every(({ status }) => status === 201));
  }
  await Promise.all(clients.map(async (stream) => { for (let i = 0; i < said; i += 1) await stream.next('new-message'); }));
  const peak = Number(readFileSync(`/proc/${server.child.pid}/status`, 'utf8').match(/^VmHWM:\s*(\d+) kB$/m)[1]) * 1024;
  t.diagnostic(`resident at most: ${peak} bytes${group ? `; the group, with the kernel's buffers and cached files: ${group.peak()}` : ''}`);
  assert.ok(peak < limit, `${peak} bytes resident`);
});

/** A control group with a memory limit, through whichever version of the kernel's interface is writable here. */
function memoryGroup(bytes) {
  const groups = Object.fromEntries(readFileSync('/proc/self/cgroup', 'utf8').trim().split('\n').map((line) => line.split(':').slice(1)));
  const name = `chatroom-test-${process.pid}`;
  for (const [folder, limit, peak] of [
    [`/sys/fs/cgroup/memory${groups.memory}`, 'memory.limit_in_bytes', 'memory.max_usage_in_bytes'],
    ['/sys/fs/cgroup', 'memory.max', 'memory.peak'],
  ]) {
    const own = path.join(folder, name);
    try {
      mkdirSync(own);
    } catch {
      continue;
    }
    try {
      writeFileSync(path.join(own, limit), `${bytes}`);
      return { folder: own, peak: () => readFileSync(path.join(own, peak), 'utf8').trim() };
    } catch {
      rmdirSync(own);
    }
  }
  return undefined;
}
