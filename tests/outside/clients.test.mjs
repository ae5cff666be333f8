// Four third-party clients on one server at the same time: curl, Python's httpx-sse, npm's eventsource, and Chromium's own EventSource
// in the page of the guide.
import test, { after, before } from 'node:test';
import assert from 'node:assert/strict';
import { EventSource } from 'eventsource';
import { Lines, chromium, freePort, openStream, post, python, run, scratch, service, startServer, until, within } from '../common/support.mjs';
import { block } from './readme.mjs';

let browser;
before(async () => { browser = await chromium(); });
after(() => browser?.close());

/** The messages that each client receives, as `name: text`; other events are ignored. */
const clients = {
  curl(t, url, after) {
    const heard = new Lines();
    const curl = service(t, 'curl', ['-sN', ...(after ? ['-H', `Last-Event-ID: ${after}`] : []), url]);
    (async () => {
      let event;
      for (let line = await curl.lines.next(); line !== undefined; line = await curl.lines.next()) {
        if (line.startsWith('event: ')) event = line.slice('event: '.length);
        if (line.startsWith('data: ')) note(heard, event, JSON.parse(line.slice('data: '.length)));
      }
    })();
    return { heard, program: curl };
  },
  httpx(t, url, after) {
    const heard = new Lines();
    const listener = service(t, python, [new URL('listen.py', import.meta.url).pathname, url, ...(after ? [after] : [])]);
    (async () => {
      for (let line = await listener.lines.next(); line !== undefined; line = await listener.lines.next()) {
        const { event, id, data } = JSON.parse(line);
        if (event === 'new-message') assert.equal(id, data.eventId);
        note(heard, event, data);
      }
    })();
    return { heard, program: listener };
  },
  eventsource(t, url) {
    const heard = new Lines();
    const source = new EventSource(url);
    t.after(() => source.close());
    for (const kind of ['chat-room-connected', 'new-message', 'messages-missed']) {
      source.addEventListener(kind, ({ data }) => note(heard, kind, JSON.parse(data)));
    }
    return { heard, reconnects: true };
  },
  async chromium(t, url) {
    const heard = new Lines();
    const context = await browser.newContext();
    t.after(() => context.close());
    const page = await context.newPage();
    page.on('console', (line) => line.type() === 'log' && heard.push(line.text() === 'in dev: nobody' ? 'connected' : line.text()));
    const document = `<!doctype html><title>A page of somebody else</title><script>${block('js', 'new EventSource')}</script>`;
    await page.route('**/elsewhere.html', (route) => route.fulfill({ body: document, contentType: 'text/html' }));
    await page.goto(new URL('/elsewhere.html', url).href);
    return { heard, reconnects: true };
  },
};

function note(heard, kind, data) {
  if (kind === 'chat-room-connected') heard.push('connected');
  if (kind === 'new-message') heard.push(`${data.name}: ${data.text}`);
  if (kind === 'messages-missed') heard.push('missed');
}

async function next({ heard, program }, name) {
  try {
    return await within(heard.next(), `what ${name} hears`);
  } catch (error) {
    if (program) error.message += `; it said ${program.stdout}${program.stderr}`;
    throw error;
  }
}

test('all of them hear the same, each message as it is sent, and nothing is lost or doubled when the server is killed', async (t) => {
  const folder = scratch();
  const listen = `127.0.0.1:${await freePort()}`;
  const serve = () => startServer(t, ['--data', folder, '--message-rate', '0'], { listen });
  let server = await serve();
  const url = `${server.url}/chat/dev`;
  const open = Object.entries(clients);
  const joined = Object.fromEntries(await Promise.all(open.map(async ([name, start]) => [name, await start(t, url)])));
  for (const [name, client] of Object.entries(joined)) assert.equal(await next(client, name), 'connected');
  let newest;
  for (const text of ['hello', 'zwei\nZeilen', 'U+2028 \u2028 and NUL \0 and 😄', 'data: not an event']) {
    newest = (await post(server.url, text, { room: 'dev' })).json().eventId;
    // The next is sent once all have this one, so nothing on the way may hold it back.
    for (const [name, client] of Object.entries(joined)) assert.equal(await next(client, name), `bot: ${text}`);
  }

  await server.kill('SIGKILL');
  server = await serve();
  const missed = await post(server.url, 'while you were away', { room: 'dev' });
  assert.equal(missed.status, 201);
  for (const [name, client] of Object.entries(joined)) {
    const again = client.reconnects ? client : clients[name](t, url, newest);
    const what = client.reconnects ? `${name}, reconnecting` : `${name}, started again`;
    const heard = [await next(again, what), await next(again, what)];
    // The page tells who is there, which comes after the past.
    if (name === 'chromium') heard.reverse();
    assert.deepEqual(heard, ['connected', 'bot: while you were away']);
    joined[name] = again;
  }
  await post(server.url, 'the end', { room: 'dev' });
  for (const [name, client] of Object.entries(joined)) assert.equal(await next(client, name), 'bot: the end');
});

test('eventsource goes on after a shutdown in good order too', async (t) => {
  const listen = `127.0.0.1:${await freePort()}`;
  const options = ['--data', scratch()];
  const first = await startServer(t, options, { listen });
  const client = clients.eventsource(t, `${first.url}/chat`);
  assert.equal(await next(client, 'eventsource'), 'connected');
  assert.equal(await within(first.kill('SIGTERM'), 'the end'), 0);
  const second = await startServer(t, options, { listen });
  await post(second.url, 'hello again');
  assert.equal(await next(client, 'eventsource'), 'connected');
  assert.equal(await next(client, 'eventsource'), 'bot: hello again');
});

test('curl sends all that curl can send', async (t) => {
  const server = await startServer(t, ['--message-rate', '0']);
  const stream = await openStream(`${server.url}/chat`);
  const curl = async (...args) => JSON.parse((await run('curl', ['-sS', ...args])).stdout);
  const plain = await curl('-d', 'hello', '-H', 'Content-Type: text/plain', `${server.url}/chat?name=bot`);
  const chunked = await curl('-H', 'Transfer-Encoding: chunked', '-H', 'Content-Type: application/json', '-d', '{"name":"bot","text":"in pieces"}', `${server.url}/chat`);
  const expecting = await curl('-H', 'Expect: 100-continue', '-H', 'Content-Type: text/plain', '-d', 'may I?', `${server.url}/chat?name=bot`);
  for (const sent of [plain, chunked, expecting]) assert.deepEqual((await stream.next('new-message')).data, sent);
  const unnamed = await curl('-d', 'hello', `${server.url}/chat`);
  assert.equal(unnamed.error, 'unsupported-media-type');
  const history = await curl(`${server.url}/chat/lobby/messages?limit=2`);
  assert.deepEqual(history.messages, [chunked, expecting]);
  const waiting = curl(`${server.url}/chat/lobby/messages?wait=30&after=${history.next}`);
  await until(async () => (await run('curl', ['-s', `${server.url}/metrics`])).stdout.includes('\nchatroom_streams 2\n'), 'the question to wait');
  const news = await post(server.url, 'news');
  assert.deepEqual((await waiting).messages, [news.json()]);
});
