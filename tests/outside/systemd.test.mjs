// The guide's systemd unit: systemd's own tools accept it, and the server makes no system call that it forbids.
import test from 'node:test';
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { binary, openStream, post, request, root, run, scratch, startServer, until, within } from '../common/support.mjs';
import { block } from './readme.mjs';

const unit = readFileSync(path.join(root, 'src/guide/chatroom.service'), 'utf8');
const proxy = block('ini', 'CHATROOM_TRUSTED_PROXY', 'src/guide/operating.md');
const passwords = block('ini', 'LoadCredential', 'src/guide/operating.md');
const redis = block('ini', 'EnvironmentFile');
const settings = Object.fromEntries([...unit.matchAll(/^(\w+)=(.*)$/gm)].map(([, name, value]) => [name, value]));

test('systemd understands it, and finds little exposed', async (t) => {
  const file = path.join(scratch(), 'chatroom.service');
  const more = `${file}.d`;
  writeFileSync(file, unit.replace('ExecStart=chatroom', `ExecStart=${binary}`));
  const verify = () => run('systemd-analyze', ['verify', '--man=no', file]);
  assert.deepEqual(await verify(), { code: 0, stdout: '', stderr: '' });
  mkdirSync(more);
  for (const [name, lines] of Object.entries({ proxy, passwords, redis })) {
    writeFileSync(path.join(more, `${name}.conf`), lines);
    assert.deepEqual(await verify(), { code: 0, stdout: '', stderr: '' });
  }
  const { stdout } = await run('systemd-analyze', ['security', '--offline=true', '--no-pager', file]);
  const exposure = Number(stdout.match(/Overall exposure level for chatroom\.service: ([\d.]+)/)[1]);
  assert.ok(exposure < 2, stdout);
});

test('the server starts with its settings, and those for a proxy', async (t) => {
  const folder = scratch();
  const env = Object.fromEntries([...`${unit}${proxy}`.matchAll(/^Environment=(\w+)=(.*)$/gm)].map(([, name, value]) => [name, value.replace('%S/chatroom', folder)]));
  assert.deepEqual(Object.keys(env).sort(), ['CHATROOM_ALLOW_HOST', 'CHATROOM_DATA', 'CHATROOM_TRUSTED_PROXY']);
  assert.equal(settings.ExecStart, 'chatroom');
  const server = await startServer(t, [], { env: { ...process.env, ...env } });
  assert.equal((await request(`${server.url}/rooms`)).status, 200);
  assert.equal((await request(`${server.url}/rooms`, { headers: { Host: 'chat.example.org' } })).status, 200);
  assert.equal((await request(`${server.url}/rooms`, { headers: { Host: 'elsewhere.example' } })).status, 403);
});

test('the server reads its passwords from credentials, without a warning', async (t) => {
  const folder = scratch();
  const names = [...passwords.matchAll(/^LoadCredential=([\w-]+):\/etc\/chatroom\/\1$/gm)].map(([, name]) => name);
  for (const name of names) writeFileSync(path.join(folder, name), `${name}-1234\n`, { mode: 0o400 });
  const env = Object.fromEntries([...passwords.matchAll(/^Environment=(\w+)=%d\/(.*)$/gm)].map(([, name, file]) => [name, path.join(folder, file)]));
  assert.deepEqual([names.length, Object.keys(env).length], [2, 2]);
  const server = await startServer(t, [], { env: { ...process.env, ...env } });
  const as = async (password) => (await request(`${server.url}/bans`, { headers: { Authorization: `Basic ${btoa(`me:${password}`)}` } })).status;
  assert.deepEqual([await as('password-1234'), await as('moderator-password-1234'), await as('nothing')], [403, 200, 401]);
  assert.doesNotMatch(server.stderr, /warning/);
});

test('the server does nothing that it forbids', async (t) => {
  const folder = scratch();
  const trace = path.join(folder, 'trace');
  // -D: the server is our child and strace is not, so the server ends with the test, and strace with it.
  const before = ['-D', '-f', '-qq', '-o', trace, binary];
  const server = await startServer(t, ['--data', path.join(folder, 'data'), '--fsync', 'always', '--room-ttl', '1'], { command: 'strace', before });
  const stream = await openStream(`${server.url}/chat?name=ada`);
  await post(server.url, 'hello');
  await stream.next('new-message');
  // Nobody uses this room any more, so it is forgotten and the journal rewritten.
  await post(server.url, 'forget this', { room: 'attic' });
  await until(() => server.stderr.includes('journal: rewritten'), 'the journal to be rewritten');
  for (const part of ['', 'rooms', 'metrics']) assert.equal((await request(`${server.url}/${part}`)).status, 200);
  assert.equal(await within(server.kill(), 'the end'), 0);

  // Other threads may still be there: then strace says of the last call that it is unfinished.
  await until(() => readFileSync(trace, 'utf8').includes(' exit_group(0'), 'the trace to be whole');
  const calls = readFileSync(trace, 'utf8');
  const made = new Set([...calls.matchAll(/^\d+ +(\w+)\(/gm)].map(([, name]) => name));
  assert.ok(['accept4', 'epoll_wait', 'fdatasync', 'rename'].every((name) => made.has(name)), [...made].join(' '));
  const sets = await filterSets();
  const [allowed, refused] = [...unit.matchAll(/^SystemCallFilter=~?(.*)$/gm)].map(([, names]) => names.split(' ').flatMap((name) => expand(sets, name)));
  assert.deepEqual([...made].filter((name) => !allowed.includes(name) || refused.includes(name)), []);
  const families = new Set([...calls.matchAll(/ socket\((\w+),/g)].map(([, family]) => family));
  assert.deepEqual([...families].filter((family) => !settings.RestrictAddressFamilies.split(' ').includes(family)), []);
  assert.doesNotMatch(calls, /(mmap|mprotect)\([^)]*PROT_WRITE\|PROT_EXEC/);
});

/** systemd's groups of system calls by name; a group may contain others. */
async function filterSets() {
  const { code, stdout, stderr } = await run('systemd-analyze', ['syscall-filter', '--no-pager']);
  assert.equal(code, 0, stderr);
  const sets = {};
  let current;
  for (const line of stdout.split('\n')) {
    if (/^@/.test(line)) sets[line.trim()] = current = [];
    else if (/^ +[@\w]/.test(line)) current?.push(line.trim());
  }
  return sets;
}

function expand(sets, name) {
  return name.startsWith('@') ? sets[name].flatMap((inner) => expand(sets, inner)) : [name];
}
