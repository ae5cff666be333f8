// The server behind a real nginx and a real Caddy, with the guide's configurations and commands. Only ports and certificate paths are replaced.
import test, { after, before, describe } from 'node:test';
import assert from 'node:assert/strict';
import { chromium, freePort, openStream, post, request, scratch, startServer, until } from '../common/support.mjs';
import { caddySite, host, nginx, nginxSite } from './proxies.mjs';
import { block, section } from './readme.mjs';
import * as people from '../browser/support.mjs';

/** The options of the command that the guide gives for a proxy, without the folder. */
const optionsFor = (name) => section(name, 'src/guide/operating.md').match(/^target\/release\/chatroom --data data (.*)$/m)[1].split(' ');
let browser;
before(async () => { browser = await chromium(`--host-resolver-rules=MAP ${host} 127.0.0.1`); });
after(() => browser?.close());

const proxies = { nginx: nginxSite, Caddy: caddySite };

/** A server behind a proxy, and the ways to reach both. */
async function setUp(t, name, options = []) {
  const listen = `127.0.0.1:${await freePort()}`;
  const serve = () => startServer(t, [...optionsFor(name), ...options], { listen });
  const server = await serve();
  const proxy = await proxies[name](t, server.port);
  const url = `https://${host}:${proxy.https}`;
  const via = { address: '127.0.0.1' };
  await until(async () => {
    via.ca = proxy.ca();
    return (await request(`${url}/healthz`, via)).status === 200;
  }, `${name} to be ready`);
  return { server, serve, url, via, http: proxy.http };
}

// Some at a time, so that they share the idle minute.
describe('with a proxy', { concurrency: 4 }, () => {
  test('behind a proxy', { concurrency: true }, (t) => Promise.all(Object.keys(proxies).map((name) => t.test(name, { concurrency: true }, async (t) => {
    const site = await setUp(t, name, ['--data', scratch(), '--message-rate', '0']);
    const { server, url, via } = site;
    await Promise.all([
      t.test('events arrive one by one, as they are sent, and survive an idle minute', () => streams(site)),
      t.test('the session cookie is Secure, and plain http leads to https', () => secured(site)),
      t.test('a page of this origin may post, also one of a browser that tells the origin alone; another may not', async () => {
        const from = async (Origin) => (await post(url, 'hello', { room: 'yard', via, headers: { Origin } })).status;
        assert.deepEqual([await from(url), await from('https://elsewhere.example')], [201, 403]);
      }),
      t.test('figures are for the machine itself alone', async () => {
        assert.equal((await request(`${url}/metrics`, via)).status, 403);
        assert.equal((await request(`${server.url}/metrics`, { headers: { Host: host } })).status, 200);
      }),
      t.test('who leaves is seen to leave', () => leaving(site)),
    ]);
  }))));

  for (const name of Object.keys(proxies)) {
    test(`behind ${name}, the limits of one address are those of the visitor's`, async (t) => {
      const one = ['--max-streams-per-ip', '1'];
      const { server, url, via } = await setUp(t, name, one);
      const from = async (localAddress, headers = {}) => (await openStream(`${url}/chat`, { ...via, localAddress, headers })).status;
      assert.deepEqual([await from('127.0.0.2'), await from('127.0.0.2'), await from('127.0.0.3')], [200, 429, 200]);
      // A header forged by the visitor does not count.
      assert.equal(await from('127.0.0.2', { 'X-Forwarded-For': '203.0.113.7' }), 429);
      const believesNobody = await startServer(t, one);
      const claims = (address) => openStream(`${believesNobody.url}/chat`, { headers: { 'X-Forwarded-For': address } });
      assert.deepEqual([(await claims('203.0.113.8')).status, (await claims('203.0.113.9')).status], [200, 429]);
    });

    for (const signal of ['SIGKILL', 'SIGTERM']) {
      test(`behind ${name}, a server that gets ${signal} and starts again loses nobody's place`, async (t) => {
        const { server, serve, url, via } = await setUp(t, name, ['--data', scratch(), '--message-rate', '0']);
        const options = { locale: 'en-GB', ignoreHTTPSErrors: true };
        const ada = await people.person(browser, url, 'ada', { room: 'den', ...options });
        const bob = await people.person(browser, url, 'bob', { room: 'den', ...options });
        await people.write(ada, 'before');
        await people.shows(bob, ['before']);
        const stream = await openStream(`${url}/chat/den`, via);
        const { id } = await stream.next('new-message');

        await server.kill(signal);
        if (signal === 'SIGTERM') assert.ok(await stream.next('server-closing'), 'the proxy passes the goodbye on');
        assert.equal(await stream.next('new-message'), undefined, 'the proxy ends the stream');
        const meanwhile = request(`${url}/rooms`, via);
        if (name === 'nginx') assert.equal((await meanwhile).status, 502);
        await people.write(ada, 'in between');
        const again = await serve();
        if (name === 'Caddy') assert.equal((await meanwhile).status, 200, 'Caddy holds the request until the server is back');
        await post(again.url, 'after', { room: 'den', headers: { Host: host } });
        const resumed = await openStream(`${url}/chat/den`, { ...via, headers: { 'Last-Event-ID': id } });
        const received = [(await resumed.next('new-message')).data.text, (await resumed.next('new-message')).data.text].sort();
        assert.deepEqual(received, ['after', 'in between']);
        const stored = (await request(`${url}/chat/den/messages`, via)).json().messages.map(({ text }) => text);
        assert.equal(stored.length, 3);
        for (const page of [ada, bob]) await people.shows(page, stored, 60_000);
        await people.clean(ada, bob);
      });
    }
  }

  test('behind nginx the page and its parts come compressed, and no event stream', async (t) => {
    const { url, via } = await setUp(t, 'nginx');
    const ask = (path, headers = {}) => request(`${url}${path}`, { ...via, headers: { 'Accept-Encoding': 'gzip', ...headers } });
    for (const part of ['/', '/chat.css', '/favicon.svg']) {
      const { status, headers } = await ask(part);
      assert.deepEqual([status, headers['content-encoding'], headers.vary], [200, 'gzip', 'Accept-Encoding'], part);
      assert.equal((await ask(part, { 'If-None-Match': headers.etag })).status, 304, part);
    }
    const stream = await openStream(`${url}/chat`, { ...via, headers: { 'Accept-Encoding': 'gzip' } });
    assert.equal(stream.headers['content-encoding'], undefined);
    assert.ok(await stream.next('chat-room-connected'));
  });

  test('below a path of another site, behind nginx', async (t) => {
    const port = await freePort();
    const server = await startServer(t, optionsFor('nginx'));
    const below = block('nginx', 'chat-of-the-team').replace('127.0.0.1:8080', `127.0.0.1:${server.port}`);
    nginx(t, `server { listen 127.0.0.1:${port}; server_name ${host}; ${below} }`);
    const url = `http://${host}:${port}`;
    await until(async () => (await request(`${url}/chat-of-the-team/healthz`, { address: '127.0.0.1' })).status === 200, 'nginx to be ready');
    assert.equal((await request(`${url}/chat-of-the-team/metrics`, { address: '127.0.0.1' })).status, 403);
    const context = await browser.newContext();
    const page = await context.newPage();
    await page.goto(`${url}/chat-of-the-team/#den`);
    await page.locator('.dot.connected').waitFor({ timeout: 20_000 });
    await post(server.url, 'hello', { room: 'den', headers: { Host: host } });
    await page.locator('#log .text', { hasText: 'hello' }).waitFor({ timeout: 20_000 });
    await context.close();
  });
});

async function streams({ url, via }) {
  const stream = await openStream(`${url}/chat/idle?name=ada`, via);
  assert.equal(stream.headers['content-type'], 'text/event-stream');
  assert.equal(stream.headers['content-encoding'], undefined);
  const { data } = await stream.next('chat-room-connected');
  assert.equal(data.name, 'ada');
  for (let i = 0; i < 20; i += 1) {
    const sent = await post(url, `message ${i}`, { room: 'idle', via });
    assert.equal(sent.status, 201, sent.text);
    // The next is sent once this one has arrived, so no buffer on the way may hold it back.
    assert.deepEqual((await stream.next('new-message')).data, sent.json());
  }
  const [idle, began] = [60_000, Date.now()];
  let heartbeats = 0;
  while (Date.now() - began < idle) {
    const event = await stream.next(undefined, 40_000);
    assert.ok(event, 'the stream goes on');
    if (event.event === 'heartbeat') heartbeats += 1;
  }
  assert.ok(heartbeats >= 3, `${heartbeats} heartbeats`);
  const waited = await request(`${url}/chat/idle/messages?wait=1&after=${(await post(url, 'awake', { room: 'idle', via })).json().eventId}`, via);
  assert.deepEqual([waited.status, waited.json().messages], [200, []]);
  assert.equal((await stream.next('new-message')).data.text, 'awake');
  stream.close();
}

async function secured({ url, via, http, server }) {
  const cookie = async (from, options) => {
    const stream = await openStream(`${from}/chat`, options);
    stream.close();
    return stream.headers['set-cookie'][0];
  };
  assert.match(await cookie(url, via), /^chatroom-session=[0-9a-f]{32}; .*; HttpOnly; SameSite=Strict; Secure$/);
  assert.doesNotMatch(await cookie(server.url, { headers: { Host: host } }), /Secure/);
  const plain = await request(`http://${host}:${http}/`, via);
  assert.ok([301, 308].includes(plain.status), `${plain.status}`);
  assert.match(plain.headers.location, new RegExp(`^https://${host.replaceAll('.', '\\.')}[:/]`));
}

async function leaving({ url, via, server }) {
  const room = async () => (await request(`${server.url}/chat/hall/members`, { headers: { Host: host } })).json().memberCount;
  const stream = await openStream(`${url}/chat/hall?name=ada`, via);
  await stream.next('chat-room-connected');
  assert.equal(await room(), 1);
  stream.close();
  // A name stays reserved for ten seconds after its last stream.
  await until(async () => (await room()) === 0, 'ada to leave', 25_000);
}
