// The guide's options for a small machine, in no more memory than it has.
import test from 'node:test';
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, rmdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { binary, openStream, post, request, scratch, startServer, until, within } from '../common/support.mjs';
import { section } from './readme.mjs';

const [, mebibytes, given] = section('On a small machine', 'src/guide/operating.md').match(/(\d+) MiB[^]*?`(--max-[^`]*)`/);
const options = given.split(' ');
const value = (option) => Number(options[options.indexOf(option) + 1]);

/** How to start a program that may have only so much memory, the kernel's for it included. */
function limited(bytes) {
  const old = existsSync('/sys/fs/cgroup/memory');
  const group = path.join(old ? '/sys/fs/cgroup/memory' : '/sys/fs/cgroup', `chatroom-test-${process.pid}`);
  mkdirSync(group);
  writeFileSync(path.join(group, old ? 'memory.limit_in_bytes' : 'memory.max'), `${bytes}`);
  return { group, command: 'sh', before: ['-c', `echo $$ >${group}/cgroup.procs && exec "$0" "$@"`, binary] };
}

test('a server whose rooms are full starts on a small machine, and serves', async (t) => {
  const data = path.join(scratch(), 'data');
  const filling = await startServer(t, [...options, '--data', data, '--message-rate', '0', '--max-streams-per-ip', '0', '--fsync', 'no']);
  const rooms = ['lobby', ...Array.from({ length: value('--max-rooms') }, (_, i) => `room-${i}`)];
  const oldest = async (url, room) => (await request(`${url}/chat/${room}/messages?limit=1&after=0-0`)).json().messages[0];
  await Promise.all(rooms.map(async (room) => {
    // Short ones, each with a key, are what costs most beside the text.
    const fill = (key) => post(filling.url, 'hello', { room, headers: { 'Idempotency-Key': key } });
    const first = (await fill('first')).json().eventId;
    for (let n = 0; (await oldest(filling.url, room)).eventId === first; n += 1) {
      for (let i = 0; i < 50; i += 1) assert.equal((await fill(`key-${n}-${i}`)).status, 201);
    }
  }));
  const before = await Promise.all(rooms.map((room) => oldest(filling.url, room)));
  assert.equal(await within(filling.kill(), 'the server to end'), 0);

  const { group, ...started } = limited(Number(mebibytes) * 1024 * 1024);
  const server = await startServer(t, [...options, '--data', data], started);
  // Hooks run in the order in which they were set: the server has ended.
  t.after(() => until(() => rmdirSync(group) === undefined, 'the group of processes to be empty', 5_000));
  assert.deepEqual(await Promise.all(rooms.map((room) => oldest(server.url, room))), before);
  const streams = await Promise.all(Array.from({ length: value('--max-streams') }, (_, i) => (
    openStream(`${server.url}/chat?name=p${i}`, { localAddress: `127.0.0.${2 + (i % 8)}` }))));
  assert.deepEqual(new Set(streams.map(({ status }) => status)), new Set([200]));
  for (const stream of streams) await stream.next('caught-up');
  assert.equal((await post(server.url, 'to all')).status, 201);
  for (const stream of streams) assert.equal((await stream.next('new-message')).data.text, 'to all');
});
