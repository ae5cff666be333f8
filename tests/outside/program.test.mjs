// The program as its operator sees it: options, exit codes, signals and output, all as the guide documents them.
import test from 'node:test';
import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { once } from 'node:events';
import net from 'node:net';
import path from 'node:path';
import { binary, freePort, freeze, openStream, post, request, root, run, scratch, startServer, until, within } from '../common/support.mjs';
import { table } from './readme.mjs';

const guide = 'src/guide/operating.md';
const bare = (cell) => cell.replaceAll(/[`↻]/g, '').trim();

test('the guide and --help list the same options, with the same defaults', async () => {
  const { code, stdout, stderr } = await run(binary, ['--help']);
  assert.deepEqual([code, stderr], [0, '']);
  const helped = [...stdout.matchAll(/^ {2}(?:-\w, )?(--\S+(?: \S+)?) {2,}(.*)$/gm)].map(([, option, meaning]) => [
    option, meaning.match(/\(default: ([\w.:]+)\)/)?.[1], meaning.includes('may be repeated'),
  ]);
  const told = table('Options', guide).flatMap(([options, value, meaning]) => bare(options).split(', ').map((option) => ({ option, value, meaning, repeatable: options.includes('↻') })));
  assert.deepEqual(told.map(({ option }) => option).sort(), helped.map(([option]) => option).sort());
  for (const [option, value, repeatable] of helped) {
    const row = told.find((row) => row.option === option);
    assert.equal(row.repeatable, repeatable, option);
    if (value) assert.ok(bare(row.value) === value || option.startsWith('--room'), `${option}: ${value} is not ${row.value}`);
  }
});

test('a bad option is one line that names it, and exit code 2', async (t) => {
  const cases = [
    [['--nonsense'], {}, '--nonsense'], [['--listen', 'here'], {}, '--listen here'], [['--history'], {}, '--history'],
    [['--password-file', path.join(scratch(), 'none')], {}, '--password-file'], [[], { CHATROOM_MAX_ROOMS: 'many' }, 'CHATROOM_MAX_ROOMS many'],
  ];
  for (const [options, variables, named] of cases) {
    const { code, stdout, stderr } = await run(binary, options, { env: { ...process.env, ...variables } });
    assert.deepEqual([code, stdout], [2, ''], stderr);
    assert.match(stderr, /^chatroom: [^\n]+\n$/);
    assert.ok(stderr.startsWith(`chatroom: ${named}`), stderr);
  }
});

test('the environment gives options too, and the command line wins', async (t) => {
  const env = { ...process.env, CHATROOM_ROOM: 'kitchen, attic', CHATROOM_HEARTBEAT: '7' };
  const server = await startServer(t, ['--heartbeat', '8'], { env });
  const stream = await openStream(`${server.url}/chat`);
  const { data } = await stream.next('chat-room-connected');
  assert.deepEqual([data.room, data.heartbeatSeconds], ['kitchen', 8]);
  assert.equal((await post(server.url, 'hello', { room: 'lobby' })).json().error, 'room-not-offered');
});

test('a server that cannot start says why and exits with 1', async (t) => {
  const folder = scratch();
  const server = await startServer(t, ['--data', folder]);
  const taken = await run(binary, ['--listen', `127.0.0.1:${server.port}`]);
  assert.deepEqual([taken.code, taken.stdout], [1, '']);
  assert.match(taken.stderr, /^chatroom: cannot listen on 127\.0\.0\.1:\d+: .+\n$/);
  const second = await run(binary, ['--listen', '127.0.0.1:0', '--data', folder, '--log', 'error']);
  assert.deepEqual([second.code, second.stdout], [1, '']);
  assert.equal(second.stderr, `chatroom: ${folder}: another server uses this data folder\n`);
});

for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP']) {
  test(`${signal} ends it in good order`, async (t) => {
    const server = await startServer(t);
    const stream = await openStream(`${server.url}/chat?name=ada`);
    await stream.next('chat-room-connected');
    assert.equal(await within(server.kill(signal), 'the end'), 0);
    assert.ok(await stream.next('server-closing'));
    assert.equal(await stream.next('no-such-event'), undefined);
    assert.equal(server.stdout, `chatroom listening on ${server.url}\n`);
  });
}

test('while it drains it accepts nobody, and a second signal ends it at once', async (t) => {
  const server = await startServer(t, ['--drain', '0']);
  const unfinished = net.connect(server.port, '127.0.0.1').on('error', () => {});
  unfinished.write('POST /chat HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nContent-Length: 10\r\nExpect: 100-continue\r\n\r\n');
  const [asked] = await within(once(unfinished, 'data'), 'the server to read the body');
  assert.match(String(asked), /^HTTP\/1\.1 100 /);
  server.kill('SIGTERM');
  const check = () => run(binary, ['--check', '--listen', `127.0.0.1:${server.port}`]);
  await until(async () => (await check()).stderr.startsWith(`chatroom: no answer from 127.0.0.1:${server.port}: `), 'draining');
  assert.equal(await within(server.kill('SIGTERM'), 'the end'), 1);
  unfinished.destroy();
});

test('--check tells whether the server is well, however it was set up', async (t) => {
  const folder = scratch();
  const password = path.join(folder, 'password');
  await run('sh', ['-c', `echo secret > ${password}`]);
  const server = await startServer(t, ['--allow-host', 'chat.example.org', '--password-file', password], { listen: '0.0.0.0:0' });
  const check = (listen) => run(binary, ['--check', '--listen', listen]);
  for (const listen of [`127.0.0.1:${server.port}`, `0.0.0.0:${server.port}`]) {
    assert.deepEqual(await check(listen), { code: 0, stdout: '', stderr: '' });
  }
  const nobody = await check(`127.0.0.1:${await freePort()}`);
  assert.equal(nobody.code, 1);
  assert.match(nobody.stderr, /^chatroom: no answer from 127\.0\.0\.1:\d+: .+\n$/);
  await freeze(server.child);
  const frozen = await check(`127.0.0.1:${server.port}`);
  server.child.kill('SIGCONT');
  assert.equal(frozen.code, 1);
  assert.match(frozen.stderr, /^chatroom: no answer from/);
});

test('nothing that people say or hold is on stderr, whatever the level', async (t) => {
  const folder = scratch();
  const password = path.join(folder, 'password');
  await run('sh', ['-c', `echo open-sesame > ${password}`]);
  const server = await startServer(t, ['--log', 'debug', '--data', folder, '--password-file', password]);
  const headers = { Authorization: `Basic ${btoa('me:open-sesame')}`, Cookie: 'chatroom-session=0123456789abcdef0123456789abcdef' };
  const wrong = await request(`${server.url}/rooms`, { headers: { Authorization: `Basic ${btoa('me:not-sesame')}` } });
  const sent = await post(server.url, 'between-us', { name: 'incognito', room: 'den', headers: { ...headers, 'Idempotency-Key': 'key-of-mine' } });
  assert.deepEqual([wrong.status, sent.status], [401, 201]);
  await server.kill();
  assert.match(server.stderr, /^\S+Z chatroom debug: POST chat 201$/m);
  assert.match(server.stderr, /^\S+Z chatroom info: wrong password from 127\.0\.0\.1$/m);
  for (const secret of ['sesame', 'between-us', 'incognito', 'den', '0123456789abcdef', 'key-of-mine']) {
    assert.ok(!server.stderr.includes(secret), `${secret} in ${server.stderr}`);
  }
});

test('a refused host is told once, with the option that allows it', async (t) => {
  const server = await startServer(t);
  const from = async (host) => (await request(`${server.url}/rooms`, { headers: { Host: host } })).json().error;
  for (const host of ['chat.example.org', 'chat.example.org:8443', 'CHAT.example.org']) assert.equal(await from(host), 'unknown-host');
  await server.kill();
  const told = [...server.stderr.matchAll(/^\S+ (chatroom info: refused .*)$/gm)].map(([, line]) => line);
  assert.deepEqual(told[0], 'chatroom info: refused a request for host "chat.example.org": --allow-host chat.example.org would allow it');
  assert.ok(told.length <= 2, server.stderr);
});

test('--log error is silent as long as all is well', async (t) => {
  const server = await startServer(t, ['--log', 'error', '--data', scratch()]);
  assert.equal(await within(server.kill(), 'the end'), 0);
  assert.equal(server.stderr, '');
});

test('the guide has every line that the server can say on stderr', () => {
  const documented = table('Logs', guide).flatMap(([line]) => [...line.matchAll(/`([^`]+)`/g)].map(([, line]) => line));
  const sources = readdirSync(path.join(root, 'src'), { recursive: true }).filter((file) => file.endsWith('.rs') && !file.endsWith('tests.rs'));
  let said = 0;
  for (const file of sources) {
    const [source] = readFileSync(path.join(root, 'src', file), 'utf8').split('#[cfg(test)]');
    const lines = [
      ...[...source.matchAll(/\.(error|info|debug)\(format_args!\(\s*"((?:[^"\\]|\\.)*)"/g)].map(([, level, text]) => `chatroom ${level}: ${text}`),
      ...[...source.matchAll(/eprintln!\(\s*"((?:[^"\\]|\\.)*)"/g)].map(([, text]) => text),
    ];
    for (const line of lines) {
      said += 1;
      const escape = (text) => text.replaceAll(/[.*+?^$()|[\]\\]/g, '\\$&');
      const pattern = new RegExp(`^${line.split(/\{[^}]*\}/).map(escape).join('.+')}$`);
      const known = documented.some((told) => pattern.test(told));
      assert.ok(known, `${file} says "${line}", the guide does not`);
    }
  }
  assert.ok(said > 10, `only ${said} lines were found in the sources`);
});
