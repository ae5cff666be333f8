// The static binaries, built as the guide says: in an otherwise empty root folder, as the Containerfile starts it, on another processor, and in little memory.
import test, { before } from 'node:test';
import assert from 'node:assert/strict';
import { chmodSync, chownSync, copyFileSync, cpSync, mkdirSync, readFileSync, readdirSync, rmdirSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { freePort, openStream, post, request, root, run, scratch, startServer, target, until, within } from '../common/support.mjs';
import { block } from './readme.mjs';

const built = path.join(target, 'static');
const guide = 'src/guide/installing.md';
const asRoot = process.getuid() === 0 ? [] : ['unshare', '--map-root-user'];
const processor = { 'x86-64': 'x86_64-unknown-linux-musl', ARM64: 'aarch64-unknown-linux-musl' };
let binary = path.join(built, processor['x86-64'], 'small/chatroom');

/** Builds for a processor by the guide's commands; undefined where Rust's standard library for it cannot be fetched. */
async function build(name) {
  const commands = block('sh', `target ${name}`, guide);
  const [fetch, ...rest] = commands.split('\n');
  assert.equal(fetch, `rustup target add ${name}`);
  if ((await run('bash', ['-ec', fetch], { cwd: root, patience: 300_000 })).code !== 0) return undefined;
  const { code, stderr } = await run('bash', ['-ec', rest.join('\n')], { cwd: root, env: { ...process.env, CARGO_TARGET_DIR: built }, patience: 600_000 });
  assert.equal(code, 0, stderr);
  return path.join(built, name, 'small/chatroom');
}

before(async () => {
  const musl = await build(processor['x86-64']);
  if (musl) return;
  const [, command] = readFileSync(path.join(root, guide), 'utf8').match(/`(RUSTFLAGS=[^`]+)`/);
  const { code, stderr } = await run('bash', ['-ec', command], { cwd: root, env: { ...process.env, CARGO_TARGET_DIR: built }, patience: 600_000 });
  assert.equal(code, 0, stderr);
  binary = path.join(built, 'x86_64-unknown-linux-gnu/small/chatroom');
});

/** A root folder that contains only the binary. */
function emptyRoot(t) {
  const folder = scratch();
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
  const ldd = await run('ldd', [binary]);
  assert.match(ldd.stdout + ldd.stderr, /statically linked|not a dynamic executable/);
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

test('the Containerfile builds from what it copies', async (t) => {
  const containerfile = block('dockerfile', 'FROM scratch', guide);
  const folder = scratch();
  for (const [, copied] of containerfile.matchAll(/^COPY (?!--)(.*)$/gm)) {
    const [...sources] = copied.split(' ');
    const place = path.join(folder, sources.pop());
    for (const source of sources) {
      const to = place.endsWith('/') || sources.length > 1 ? path.join(place, source) : place;
      cpSync(path.join(root, source), to, { recursive: true, filter: (file) => !file.includes('node_modules') });
    }
  }
  // Checked rather than built, which would take long and show no more.
  const [, command] = containerfile.match(/^RUN (.*)$/m);
  assert.match(command, /^cargo build /);
  const env = { ...process.env, CARGO_TARGET_DIR: path.join(target, 'static') };
  const { code, stderr } = await run('sh', ['-ec', command.replace('build', 'check')], { cwd: folder, env, patience: 300_000 });
  assert.equal(code, 0, stderr);
  assert.deepEqual(readdirSync(path.join(folder, 'data')), []);
});

test('the Containerfile starts it, not as root, and its health check finds it well', async (t) => {
  const containerfile = block('dockerfile', 'FROM scratch', guide).split('FROM scratch\n')[1];
  const line = (instruction) => containerfile.match(new RegExp(`^${instruction} (.*)$`, 'm'))[1];
  const [from, copied, place] = line('COPY').split(' ');
  assert.deepEqual([from, copied], ['--from=build', '/build/target/small/chatroom']);
  const env = Object.fromEntries(line('ENV').split(' ').map((pair) => pair.split('=')));
  assert.equal(env.CHATROOM_LISTEN, `0.0.0.0:${line('EXPOSE')}`);
  assert.equal(env.CHATROOM_DATA, line('VOLUME'));
  env.CHATROOM_LISTEN = `127.0.0.1:${await freePort()}`;

  const folder = emptyRoot(t);
  chmodSync(folder, 0o755);
  const user = line('USER');
  assert.match(user, /^[1-9]\d+:[1-9]\d+$/);
  assert.ok(containerfile.includes(`--chown=${user} /build/data ${env.CHATROOM_DATA}\n`));
  const data = path.join(folder, env.CHATROOM_DATA);
  mkdirSync(data);
  // Somebody who is not root can only be root in a container of this test, and nobody else.
  const drop = asRoot.length === 0 ? [`--userspec=${user}`] : [];
  if (asRoot.length === 0) chownSync(data, ...user.split(':').map(Number));
  const entry = JSON.parse(line('ENTRYPOINT'));
  const check = JSON.parse(line('HEALTHCHECK').replace(/^CMD /, ''));
  assert.deepEqual([entry, check[0]], [[place], place]);
  const [command, ...before] = [...asRoot, 'chroot', ...drop, folder];
  const health = () => run(command, [...before, ...check], { env: { ...process.env, ...env } });
  assert.equal((await health()).code, 1);
  const server = await startServer(t, [], { command, before: [...before, ...entry], listen: env.CHATROOM_LISTEN, env: { ...process.env, ...env } });
  assert.deepEqual(await health(), { code: 0, stdout: '', stderr: '' });
  await post(server.url, 'kept');
  assert.match(readFileSync(path.join(data, 'messages.jsonl'), 'utf8'), /kept/);
});

test('compose: who comes from its network is believed, and nobody else; Caddy has the guide\'s settings', async (t) => {
  const compose = block('yaml', 'CHATROOM_TRUSTED_PROXY', guide);
  const env = Object.fromEntries([...compose.matchAll(/^ +(CHATROOM_\w+): (.*)$/gm)].map(([, name, value]) => [name, value]));
  assert.deepEqual(Object.keys(env), ['CHATROOM_ALLOW_HOST', 'CHATROOM_TRUSTED_PROXY']);
  assert.ok(compose.includes(`- subnet: ${env.CHATROOM_TRUSTED_PROXY}\n`));
  const greeting = (from) => `curl -sN -D - --interface ${from} -H 'Host: ${env.CHATROOM_ALLOW_HOST}' -H 'Accept: text/event-stream' -H 'X-Forwarded-Proto: https' 172.28.0.2:8080/chat | grep -m 1 -i ^set-cookie`;
  const script = `ip link set lo up; for address in 172.28.0.2 172.28.0.255 172.28.1.0; do ip address add $address dev lo; done
    '${binary}' --listen 0.0.0.0:8080 --heartbeat 1 >&2 & trap 'kill %1; wait' EXIT
    until curl -s 127.0.0.1:8080/healthz >&2; do kill -0 %1; done
    ${greeting('172.28.0.255')}; ${greeting('172.28.1.0')}`;
  const { code, stdout, stderr } = await run('unshare', [...(asRoot.length > 0 ? ['--map-root-user'] : []), '--net', 'bash', '-euc', script], { env: { ...process.env, ...env } });
  assert.equal(code, 0, stderr);
  assert.deepEqual(stdout.trim().split('\n').map((line) => /; Secure/.test(line)), [true, false], stdout);

  const caddyfile = compose.match(/^ {4}content: \|\n((?: {6}.*\n)+)/m)[1].replaceAll(/^ {6}/gm, '');
  assert.equal(caddyfile, block('caddy', '127.0.0.1:8080 {', 'src/guide/operating.md').replace('127.0.0.1:8080', 'chatroom:8080'));
});

test('for ARM64 it is built by the same commands, and serves', async (t) => {
  const arm = await build(processor.ARM64);
  if (!arm) return t.skip('the standard library for ARM64 cannot be fetched here');
  const server = await startServer(t, [], { command: 'qemu-aarch64', before: [arm] });
  const stream = await openStream(`${server.url}/chat?name=ada`);
  await stream.next('chat-room-connected');
  await post(server.url, 'hello');
  assert.equal((await stream.next('new-message')).data.text, 'hello');
  assert.equal(await within(server.kill(), 'the end'), 0);
});

test('the commands for ARMv7 are those for ARM64', () => {
  const armv7 = block('sh', 'target armv7', guide);
  assert.equal(armv7.replaceAll('armv7-unknown-linux-musleabihf', processor.ARM64), block('sh', `target ${processor.ARM64}`, guide));
});

test('the script for OpenWrt starts the server with options that it takes', async (t) => {
  const script = block('openwrt', 'procd', guide);
  const stub = 'START() { :; }; procd_open_instance() { :; }; procd_close_instance() { :; }; procd_set_param() { [ "$1" != command ] || { shift; echo "$@"; }; }';
  const { code, stdout, stderr } = await run('sh', ['-ec', `${stub}\n${script}\nstart_service`]);
  assert.equal(code, 0, stderr);
  const [program, , listen, ...options] = stdout.trim().split(' ');
  assert.equal(program, '/usr/bin/chatroom');
  const server = await startServer(t, options, { command: binary, listen: listen.replace(/^.*:.*$/, '127.0.0.1:0') });
  assert.equal((await request(`${server.url}/healthz`)).status, 200);
});

test('the small build is as small as the guide says, on the disk and in memory', async (t) => {
  if (!binary.includes('musl')) return t.skip('that is said of musl, which cannot be fetched here');
  const size = statSync(binary).size;
  const server = await startServer(t, ['--max-streams-per-ip', '0'], { command: binary });
  const resident = () => Number(readFileSync(`/proc/${server.child.pid}/status`, 'utf8').match(/^VmRSS:\s*(\d+) kB$/m)[1]) * 1024;
  await request(`${server.url}/healthz`);
  const idle = resident();
  await Promise.all(Array.from({ length: 200 }, async (_, i) => (await openStream(`${server.url}/chat?name=member-${i}`)).next('chat-room-connected')));
  const busy = resident();
  t.diagnostic(`${size} bytes; resident: ${idle} idle, ${busy} with 200 clients`);
  assert.ok(size <= 1_500_000 && idle <= 1_700_000 && busy <= 5_000_000, `${size} ${idle} ${busy}`);
});

test('200 clients in 64 rooms, talking, stay under 16 MB', async (t) => {
  const limit = 16_000_000;
  const group = memoryGroup(limit);
  t.diagnostic(group ? `limited by ${group.folder}` : 'no memory group may be made here: resident memory is measured instead');
  const before = group ? ['-c', `echo $$ > '${group.folder}/cgroup.procs' && exec "$0" "$@"`, binary] : ['-c', 'exec "$0" "$@"', binary];
  const options = ['--data', path.join(scratch(), 'data'), '--message-rate', '0', '--max-streams-per-ip', '0'];
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
