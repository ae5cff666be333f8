// The chapter about people, with a real Caddy and a real nginx. Only ports, the public name's certificate and what the installed Caddy calls things are replaced.
import test from 'node:test';
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { readFileSync } from 'node:fs';
import { freePort, openStream, post, request, run, scratch, selfSigned, startServer, until } from '../common/support.mjs';
import { caddy, host, nginx } from './proxies.mjs';
import { block, pages, table } from './readme.mjs';

const guide = 'src/guide/people.md';
const options = block('sh', '--user-header', guide).replaceAll('\\\n', '').match(/chatroom --data data (.*)$/s)[1].trim().split(/\s+/);
const via = (proxy) => ({ address: '127.0.0.1', ca: proxy.ca() });

/** A stand-in for Authelia: whom a cookie names is logged in. */
async function authelia(t, seen = []) {
  const server = createServer(({ headers: { cookie }, url }, answer) => {
    seen.push(url);
    const user = cookie?.match(/(?:^|; )sso=(\w+)/)?.[1];
    if (user) answer.setHeader('Remote-User', user);
    answer.writeHead(user || cookie?.includes('nameless') ? 200 : 401).end();
  }).listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  t.after(() => server.close());
  return server.address().port;
}

const sites = {
  'Caddy alone': async (t, upstream) => caddy(t, await spelt(withPorts(block('caddy', 'basic_auth', guide).replaceAll(/\$2a\$\S+/g, await hash('open-sesame')), { 8080: upstream }))),
  'Caddy with an authentication service': async (t, upstream) => caddy(t, withPorts(block('caddy', 'forward_auth', guide), { 8080: upstream, 9091: await authelia(t) })),
  'nginx with an authentication service': async (t, upstream) => nginxAround(t, withPorts(block('nginx', 'auth_request', guide), { 8080: upstream, 9091: await authelia(t) })),
};
const hash = async (password) => (await run('caddy', ['hash-password', '--plaintext', password])).stdout.trim();
const withPorts = (text, ports) => Object.entries(ports).reduce((site, [from, to]) => site.replaceAll(`127.0.0.1:${from}`, `127.0.0.1:${to}`), text);

/** The guide's word for passwords, as the installed Caddy has it. */
async function spelt(site) {
  const [, minor] = (await run('caddy', ['version'])).stdout.match(/^v?2\.(\d+)/);
  return site.replace('basic_auth', Number(minor) < 8 ? 'basicauth' : 'basic_auth');
}

async function nginxAround(t, locations) {
  const folder = scratch();
  const https = await freePort();
  const { key, certificate } = selfSigned(folder, host);
  nginx(t, `server { listen 127.0.0.1:${https} ssl; server_name ${host}; ssl_certificate ${certificate}; ssl_certificate_key ${key};
    ${locations} }`, folder);
  return { https, ca: () => readFileSync(certificate) };
}

for (const [name, site] of Object.entries(sites)) {
  test(`behind ${name}, people are whom the proxy names`, async (t) => {
    const server = await startServer(t, options);
    const proxy = await site(t, server.port);
    const url = `https://${host}:${proxy.https}`;
    const as = (user) => (name === 'Caddy alone' ? { Authorization: `Basic ${btoa(`${user}:open-sesame`)}` } : { Cookie: `sso=${user}` });
    const ask = (target, headers, more = {}) => request(`${url}${target}`, { ...via(proxy), ...more, headers });
    await until(async () => (await ask('/me', as('ann'))).status === 200, `${name} to be ready`);

    // What the guide says to try: nobody is whom they say.
    const forged = { 'Remote-User': 'ann' };
    assert.equal((await ask('/me', forged)).status, 401);
    const bob = (await ask('/me', { ...as('bob'), ...forged })).json();
    assert.deepEqual([bob.user, bob.moderator, bob.moderators], ['bob', false, true]);
    for (const spelling of ['remote-user', 'REMOTE-USER', 'Remote_User']) {
      assert.equal((await ask('/me', { ...as('bob'), [spelling]: 'ann' })).json().user, 'bob', spelling);
    }
    const ann = (await ask('/me', as('ann'))).json();
    assert.deepEqual([ann.user, ann.moderator], ['ann', true]);
    if (name !== 'Caddy alone') {
      const { user, error } = (await ask('/me', { Cookie: 'nameless', ...forged })).json();
      assert.ok(error === 'user-required' || user.startsWith('{http.'), `a service that lets in whom it does not name: ${user}`);
    }
    assert.equal((await request(`${server.url}/me`, { headers: { Host: host } })).json().error, 'user-required', 'past the proxy');

    // Streams and posts go under the name of the user, whatever they ask for.
    const stream = await openStream(`${url}/chat?name=eve`, { ...via(proxy), headers: as('bob') });
    const { data: greeting } = await stream.next('chat-room-connected');
    assert.deepEqual([greeting.name, greeting.author, stream.headers['set-cookie']], ['bob', bob.author, undefined]);
    const said = (await post(url, 'hello', { name: 'eve', via: via(proxy), headers: as('bob') })).json();
    assert.deepEqual([said.name, said.member, said.author], ['bob', true, bob.author]);
    assert.equal((await stream.next('new-message')).data.text, 'hello');

    // One leaver is shut out, and what is open ends.
    const ban = await ask('/bans', { ...as('ann'), Origin: url }, { method: 'POST', body: JSON.stringify({ author: bob.author, address: false }) });
    assert.equal(ban.status, 201, ban.text);
    while (await stream.next());
    assert.equal((await post(url, 'again', { via: via(proxy), headers: as('bob') })).status, 403);
    assert.equal((await post(url, 'mine', { via: via(proxy), headers: as('ann') })).status, 201);
  });
}

test('the headers of oauth2-proxy and Tailscale name users, and without one nobody comes in', async (t) => {
  const rows = table('oauth2-proxy and Tailscale', guide);
  assert.equal(rows.length, 2);
  for (const [, told] of rows) {
    const given = told.replaceAll('`', '').split(' ');
    const server = await startServer(t, given);
    const header = given.at(-1);
    // As both send them: an address, beside headers that say more.
    const headers = { [header]: 'ann@example.org', 'X-Forwarded-For': '100.64.0.7', 'Tailscale-User-Name': '=?utf-8?q?Ann?=', 'X-Forwarded-Email': 'ann@example.org' };
    assert.equal((await request(`${server.url}/me`, { headers })).json().user, 'ann@example.org', header);
    const { [header]: _, ...others } = headers;
    assert.equal((await request(`${server.url}/me`, { headers: others })).status, header === 'X-Forwarded-Email' ? 200 : 403);
  }
  assert.ok(pages[guide].includes('X-Forwarded-Preferred-Username'));
});
