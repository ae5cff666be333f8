// The keys of rooms by link stay out of the logs of a real nginx and a real Caddy that are set up as the guide says, also while the server is away.
import test from 'node:test';
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { openStream, post, request, scratch, startServer, until } from '../common/support.mjs';
import { caddySite, host, nginxSite } from './proxies.mjs';
import { block } from './readme.mjs';

const guide = 'src/guide/operating.md';
const key = 'k3y0f22characters00000';
const room = `den~${key}`;
const spelt = [`den~${key}`, `den%7E${key}`, `den%7e${key}`, `den%257E${key}`];

/** The proxies, each with what it has logged so far. */
const proxies = {
  nginx(t, upstream) {
    const folder = scratch();
    const log = (name) => path.join(folder, name);
    for (const name of ['chat.log', 'chat-error.log']) writeFileSync(log(name), '', { mode: 0o666 });
    const logs = block('nginx', 'access_log', guide).replaceAll('/var/log/nginx/', `${folder}/`);
    const site = (text) => `${block('nginx', 'map $request', guide)}${text.replaceAll('server {\n', `server {\n${logs}`)}`;
    return { start: () => nginxSite(t, upstream, site), logged: () => ['chat.log', 'chat-error.log'].map((name) => readFileSync(log(name), 'utf8')) };
  },
  Caddy(t, upstream) {
    const options = block('caddy', 'format filter', guide).match(/^\{\n([^]*)^\}$/m)[1];
    return { start: () => caddySite(t, upstream, { options, change: (text) => text.replace('{\n', '{\n\tlog\n') }), logged: () => [] };
  },
};

for (const [name, proxy] of Object.entries(proxies)) {
  test(`${name} logs no key of a room by link`, async (t) => {
    const server = await startServer(t, ['--allow-host', host, '--trusted-proxy', '127.0.0.1', '--message-rate', '0', '--log', 'debug']);
    const { start, logged } = proxy(t, server.port);
    const { program, http, https, ca } = await start();
    const url = `https://${host}:${https}`;
    const via = { address: '127.0.0.1' };
    await until(async () => {
      via.ca = ca();
      return (await request(`${url}/healthz`, via)).status === 200;
    }, `${name} to be ready`);
    const everywhere = () => [program.stdout, program.stderr, server.stderr, ...logged()].join('\n');

    // Every way in which the name of a room is sent, and links from where it stands in the address.
    const ask = async (target, headers = {}) => (await request(`${url}${target}`, { ...via, headers })).status;
    for (const name of spelt) {
      for (const target of [`/chat/${name}/messages?limit=5`, `/chat/${name}/members`, `/nowhere/${name}?room=${name}`]) await ask(target);
      for (const target of [`/chat/${name}?name=ann`, `/chat?room=lobby&room=${name}&name=ann`]) (await openStream(`${url}${target}`, via)).close();
      for (const Referer of [`${url}/#${name}`, `${url}/chat/${name}/messages`, `${url}/?room=${name}`]) await ask('/rooms', { Referer });
      // Over plain HTTP, which leads to HTTPS; and what is no request.
      await request(`http://${host}:${http}/chat/${name}/messages`, via);
      await raw(http, `GET /chat/${name} HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n`);
      await raw(http, `GET /chat/${name} HTTP/9\r\n\r\n`);
    }
    const sent = await post(url, 'only here', { room, via });
    assert.equal(sent.status, 201, sent.text);
    assert.equal((await request(`${url}/chat/${room}/hook`, { ...via, method: 'POST', headers: { 'Content-Type': 'application/json' }, body: '{"text":"disk full"}' })).status, 200);
    assert.equal((await request(`${url}/chat/${room}/messages/${sent.json().eventId}`, { ...via, method: 'DELETE' })).status, 403);

    // The server dies under a stream, and is away.
    const stream = await openStream(`${url}/chat/${room}`, via);
    await stream.next('caught-up');
    await server.kill('SIGKILL');
    while (await stream.next());
    const away = spelt.map((name) => request(`${url}/chat/${name}/messages`, { ...via, headers: { Referer: `${url}/chat/${name}` } }));
    for (const answer of await Promise.all(away)) assert.equal(answer.status, 502);

    await until(() => (everywhere().match(/den~/g) ?? []).length >= 40, 'the log');
    assert.match(everywhere(), /\/rooms/);
    const told = everywhere().split('\n').filter((line) => line.toLowerCase().includes(key));
    assert.deepEqual(told, []);
  });
}

/** Sends bytes and waits for the end of the answer. */
function raw(port, bytes) {
  return new Promise((resolve) => {
    net.connect(port, '127.0.0.1').on('error', resolve).on('close', resolve).resume().end(bytes);
  });
}
