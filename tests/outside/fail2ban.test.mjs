// The guide's filter and jail in the real fail2ban, on lines that the real server logs.
import test from 'node:test';
import assert from 'node:assert/strict';
import { cpSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { openStream, post, request, run, scratch, startServer } from '../common/support.mjs';
import { block } from './readme.mjs';

const filter = block('fail2ban', 'failregex');
const jail = block('fail2ban', 'enabled = true');

/** fail2ban's own configuration, with the guide's files in their places. */
function configuration(t) {
  const folder = path.join(scratch(), 'fail2ban');
  cpSync('/etc/fail2ban', folder, { recursive: true });
  writeFileSync(path.join(folder, 'filter.d/chatroom.conf'), filter);
  writeFileSync(path.join(folder, 'jail.d/chatroom.conf'), jail);
  return folder;
}

/** The addresses that the filter finds in these lines. */
async function found(folder, lines) {
  const log = path.join(folder, 'log');
  writeFileSync(log, lines.map((line) => `${line}\n`).join(''));
  const { code, stdout, stderr } = await run('fail2ban-regex', ['-c', folder, '-o', 'ip', log, path.join(folder, 'filter.d/chatroom.conf')]);
  assert.equal(code, 0, stdout + stderr);
  return stdout.trim().split('\n').filter(Boolean);
}

test('it matches guesses and bans that the server logs, and nothing else', async (t) => {
  const folder = configuration(t);
  const password = path.join(folder, 'password');
  writeFileSync(password, 'open-sesame\n', { mode: 0o600 });
  const server = await startServer(t, ['--trusted-proxy', '127.0.0.1', '--moderator-password-file', password, '--log', 'debug']);
  const from = (address, secret) => ({ 'X-Forwarded-For': address, ...(secret && { Authorization: `Basic ${btoa(`me:${secret}`)}` }) });
  for (const address of ['203.0.113.7', '2001:db8:1:2:3::9']) {
    assert.equal((await request(`${server.url}/bans`, { headers: from(address, 'guess') })).status, 403);
  }
  const stream = await openStream(`${server.url}/chat?name=spam`, { headers: { ...from('198.51.100.9'), Accept: 'text/event-stream' } });
  const { author } = (await stream.next('chat-room-connected')).data;
  const ban = { method: 'POST', body: JSON.stringify({ author }) };
  assert.equal((await request(`${server.url}/bans`, { headers: from('192.0.2.1', 'open-sesame'), ...ban })).status, 201);
  await post(server.url, 'wrong password from 192.0.2.2', { name: 'chatroom info: a', headers: from('192.0.2.3') });
  await request(`${server.url}/rooms`, { headers: { Host: 'wrong password from 192.0.2.4' } });
  await server.kill();
  const lines = server.stderr.trim().split('\n');
  assert.ok(lines.length > 8, server.stderr);
  const expected = ['203.0.113.7', '2001:db8:1:2::/64', '198.51.100.9'];
  assert.deepEqual(await found(folder, lines), expected);
  // As journald shows them.
  const journal = lines.map((line) => line.replace(/^\S+/, 'Jul 31 12:34:56 host chatroom[123]:'));
  assert.deepEqual(await found(folder, journal), expected);
});

test('fail2ban accepts the jail', async (t) => {
  const folder = configuration(t);
  const { code, stdout, stderr } = await run('fail2ban-client', ['-c', folder, '-d']);
  assert.equal(code, 0, stderr);
  assert.match(stdout, /'set', 'chatroom', 'addjournalmatch', '_SYSTEMD_UNIT=chatroom\.service'/);
  assert.match(stdout, /'set', 'chatroom', 'maxretry', 5/);
});
