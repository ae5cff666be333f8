// What the page does when the network or the server fails: nothing is lost, nothing comes twice, and it says where it stands.
import test, { after, before } from 'node:test';
import assert from 'node:assert/strict';
import { clean, connected, openBrowser, openTab, people, person, post, scratch, settings, shows, startNetwork, startServer, until, write } from './support.mjs';

let browser;
before(async () => { browser = await openBrowser(); });
after(() => browser.close());

const status = () => document.getElementById('status').textContent;
const pending = () => [...document.querySelectorAll('#pending li:not([hidden]) .text')].map((node) => node.textContent);

test('offline and back, with messages waiting on both sides', async () => {
  const server = await startServer();
  const network = await startNetwork(server.url);
  const ada = await person(browser, network.url, 'ada');
  const bob = await person(browser, server.url, 'bob');
  await write(ada, 'before');
  await shows(bob, ['before']);
  await ada.evaluate(() => {
    window.counted = [];
    const shown = () => window.counted.push(['status', 'countdown'].map((id) => document.getElementById(id).textContent).join(' '));
    new MutationObserver(shown).observe(document.getElementById('countdown'), { childList: true });
  });
  await ada.context().setOffline(true);
  network.cut();
  await until(ada, status, 'Offline');
  await write(ada, 'from ada 1', 'from ada 2');
  await write(bob, 'from bob 1', 'from bob 2');
  await until(ada, pending, ['from ada 1', 'from ada 2']);
  await shows(bob, ['before', 'from bob 1', 'from bob 2']);
  await ada.locator('#waiting', { hasText: '2 messages wait for the connection' }).waitFor();
  assert.deepEqual((await ada.evaluate(() => window.counted)).filter((shown) => /^Offline ./.test(shown)), [], 'offline, nothing is counted down');
  network.restore();
  await ada.context().setOffline(false);
  const all = ['before', 'from bob 1', 'from bob 2', 'from ada 1', 'from ada 2'];
  await shows(ada, all);
  await shows(bob, all);
  await until(ada, status, 'Connected');
  await clean(ada, bob);
  network.close();
  await server.stop();
});

test('what a closed tab could not send is sent by the next one, once', async () => {
  const server = await startServer();
  const network = await startNetwork(server.url);
  const ada = await person(browser, network.url, 'ada');
  const bob = await person(browser, server.url, 'bob');
  network.cut();
  await until(ada, status, 'Reconnecting');
  await write(ada, 'written in the tunnel');
  await until(ada, pending, ['written in the tunnel']);
  await ada.close();
  network.restore();
  const next = await openTab(ada.context(), network.url);
  for (const page of [next, bob]) await shows(page, ['written in the tunnel']);
  const last = await openTab(ada.context(), network.url);
  assert.deepEqual(await last.evaluate(() => Object.keys(localStorage).filter((key) => key.includes('unsent'))), []);
  await shows(last, ['written in the tunnel']);
  await clean(next, bob);
  network.close();
  await server.stop();
});

test('the server is killed and comes back with its data: messages written meanwhile arrive, once, in one order', async () => {
  const folder = scratch();
  const options = ['--data', folder, '--fsync', 'always'];
  const first = await startServer(options);
  const ada = await person(browser, first.url, 'ada');
  const bob = await person(browser, first.url, 'bob');
  await write(ada, 'one');
  await shows(bob, ['one']);
  await write(bob, 'two');
  for (const page of [ada, bob]) await shows(page, ['one', 'two']);
  await first.kill();
  await until(ada, status, 'Reconnecting');
  await ada.locator('#countdown', { hasText: /in \d+ s/ }).waitFor();
  await write(ada, 'three');
  await until(ada, pending, ['three']);
  const second = await startServer(options, first.address);
  await shows(bob, ['one', 'two', 'three'], 40_000);
  await shows(ada, ['one', 'two', 'three'], 40_000);
  await until(ada, people, ['ada', 'bob']);
  assert.equal(await ada.locator('.gap').count(), 0);
  await clean(ada, bob);
  await second.stop();
});

test('a server that comes back without its messages is told as a gap, and what was read stays', async () => {
  const first = await startServer();
  const ada = await person(browser, first.url, 'ada');
  await write(ada, 'in the first run');
  await shows(ada, ['in the first run']);
  await first.kill();
  const second = await startServer([], first.address);
  await ada.locator('.gap', { hasText: 'no longer has them' }).waitFor({ timeout: 40_000 });
  await connected(ada);
  await write(ada, 'in the second run');
  await shows(ada, ['in the first run', 'in the second run']);
  assert.equal(await ada.locator('.gap').count(), 1);
  await clean(ada);
  await second.stop();
});

test('more went by than the server holds: a line says so where it happened', async () => {
  const server = await startServer(['--history', '5', '--message-rate', '0']);
  const network = await startNetwork(server.url);
  const ada = await person(browser, network.url, 'ada');
  await write(ada, 'seen');
  await shows(ada, ['seen']);
  network.cut();
  await until(ada, status, 'Reconnecting');
  for (let n = 1; n <= 20; n += 1) await post(server.url, 'lobby', 'bot', `m${n}`);
  network.restore();
  await shows(ada, ['seen', 'm16', 'm17', 'm18', 'm19', 'm20']);
  const rows = () => [...document.querySelectorAll('#log > .message, #log > .gap')].map((node) => node.className.split(' ')[0]);
  assert.deepEqual((await ada.evaluate(rows)).slice(0, 3), ['message', 'gap', 'message']);
  await ada.locator('.gap', { hasText: 'no longer has them' }).waitFor();
  await clean(ada);
  network.close();
  await server.stop();
});

test('a post whose answer is lost is sent again under the same key and stands once', async () => {
  const server = await startServer();
  const ada = await person(browser, server.url, 'ada');
  const keys = [];
  await ada.route('**/chat/lobby', async (route) => {
    if (route.request().method() !== 'POST') return route.continue();
    keys.push(route.request().headers()['idempotency-key']);
    if (keys.length > 1) return route.continue();
    await route.fetch();
    return route.abort('connectionreset');
  });
  await write(ada, 'once');
  await shows(ada, ['once']);
  await until(ada, () => Object.keys(sessionStorage).filter((key) => key.includes('pending')).map((key) => sessionStorage[key]), ['[]']);
  assert.equal(keys.length, 2);
  assert.equal(keys[0], keys[1]);
  await ada.reload();
  await shows(ada, ['once']);
  await clean(ada);
  await server.stop();
});

test('a message that was refused can be discarded by hand, survives a reload, and can be sent again by hand', async () => {
  const server = await startServer();
  const ada = await person(browser, server.url, 'ada');
  const full = { status: 507, json: { error: 'storage-full', message: 'The disk is full.' } };
  await ada.route('**/chat/lobby', (route) => (route.request().method() === 'POST' ? route.fulfill(full) : route.continue()));
  await write(ada, 'keep', 'not this');
  await until(ada, pending, ['keep', 'not this']);
  await ada.locator('#pending .failed', { hasText: 'The disk is full.' }).nth(1).waitFor();
  await ada.locator('#pending li', { hasText: 'not this' }).getByRole('button', { name: 'Discard' }).click();
  await until(ada, pending, ['keep']);
  const [question] = await Promise.all([ada.waitForEvent('dialog'), ada.close({ runBeforeUnload: true })]);
  assert.equal(question.type(), 'beforeunload');
  await question.dismiss();
  await ada.reload();
  await ada.locator('#pending .failed', { hasText: 'The disk is full.' }).waitFor();
  await until(ada, pending, ['keep']);
  await ada.unroute('**/chat/lobby');
  await ada.getByRole('button', { name: 'Retry' }).click();
  await shows(ada, ['keep']);
  await clean(ada);
  await server.stop();
});

test('a refused message says why and waits for a decision', async () => {
  const server = await startServer(['--max-message', '10']);
  const ada = await person(browser, server.url, 'ada');
  await write(ada, 'far more than ten bytes');
  await ada.locator('#pending .failed .foot').waitFor();
  assert.ok((await ada.locator('#pending .failed .foot span').textContent()).length > 10);
  await write(ada, 'short');
  await until(ada, () => [...document.querySelectorAll('#log .text')].map((node) => node.textContent), ['short']);
  await ada.getByRole('button', { name: 'Discard' }).click();
  await shows(ada, ['short']);
  await clean(ada);
  await server.stop();
});

test('too many messages: the page sends them all in order, at the pace that the server allows', async () => {
  const server = await startServer(['--message-rate', '1']);
  const ada = await person(browser, server.url, 'ada');
  let refused = 0;
  ada.on('response', (response) => { refused += response.status() === 429; });
  // All tokens go at once, so that the page meets an empty bucket whatever the machine's speed.
  await ada.evaluate(() => Promise.all(Array.from({ length: 40 }, () => fetch('chat/lobby', {
    method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ text: 'flood' }),
  }))));
  await write(ada, 'one', 'two', 'three');
  await until(ada, () => [...document.querySelectorAll('#log .text')].slice(-3).map((node) => node.textContent), ['one', 'two', 'three'], 40_000);
  assert.ok(refused > 0);
  await until(ada, pending, []);
  await clean(ada);
  await server.stop();
});

test('a text that is too long says by how much, stays in the composer, and can be sent as several', async () => {
  const server = await startServer();
  const ada = await person(browser, server.url, 'ada');
  const help = ada.locator('#composer-help');
  await ada.locator('#text').fill('é'.repeat(2049));
  await help.filter({ hasText: '1 character too long' }).waitFor();
  await ada.locator('#text').press('Enter');
  assert.equal((await ada.locator('#text').inputValue()).length, 2049);
  assert.ok(await ada.locator('#send').isDisabled());
  const words = Array.from({ length: 1000 }, (_, n) => `word-${n}`);
  await ada.locator('#text').fill(words.join(' '));
  await ada.getByRole('button', { name: 'Send as 3 messages' }).click();
  await until(ada, () => document.querySelectorAll('#log .text').length, 3);
  assert.equal(await ada.evaluate(() => document.activeElement.id), 'text');
  assert.deepEqual((await ada.locator('#log .text').allTextContents()).join(' ').split(' '), words);
  await clean(ada);
  await server.stop();
});

test('a text that is too long for all that may wait is not cut, and says so at once', async () => {
  const server = await startServer();
  const ada = await person(browser, server.url, 'ada');
  await ada.locator('#text').fill('word '.repeat(44_000));
  await ada.locator('#composer-help', { hasText: 'characters too long' }).waitFor();
  assert.ok(await ada.locator('#split').isHidden());
  assert.ok(await ada.locator('#send').isDisabled());
  assert.ok(await ada.locator('#grow').evaluate((node) => node.dataset.text.length < 5000));
  await ada.locator('#text').fill('word '.repeat(20_000));
  await ada.getByRole('button', { name: 'Send as 25 messages' }).waitFor();
  await ada.locator('#text').fill('short');
  await ada.locator('#text').press('Enter');
  await shows(ada, ['short']);
  await clean(ada);
  await server.stop();
});

test('a server that closes says so, and the page comes back by itself', async () => {
  const first = await startServer();
  const ada = await person(browser, first.url, 'ada');
  await ada.evaluate(() => {
    window.phases = [];
    new MutationObserver(() => window.phases.push(document.getElementById('status').textContent))
      .observe(document.getElementById('status'), { childList: true, characterData: true, subtree: true });
  });
  await first.stop();
  await until(ada, () => window.phases.includes('Reconnecting'), true);
  const second = await startServer([], first.address);
  await connected(ada);
  await clean(ada);
  await second.stop();
});

test('a connection that dies without a word is noticed by its missing heartbeats', async () => {
  const server = await startServer(['--heartbeat', '1']);
  const ada = await person(browser, server.url, 'ada');
  await server.pause();
  await until(ada, status, 'Reconnecting', 20_000);
  server.resume();
  await connected(ada);
  await write(ada, 'back');
  await shows(ada, ['back']);
  await clean(ada);
  await server.stop();
});

test('a message stands from the start where it will stand, and in its size; that it takes long is said after two seconds', async () => {
  const server = await startServer();
  const ada = await person(browser, server.url, 'ada');
  await write(ada, 'before');
  await shows(ada, ['before']);
  let release;
  const held = new Promise((resolve) => { release = resolve; });
  await ada.route('**/chat/lobby', async (route) => (route.request().method() === 'POST' && await held, route.continue()));
  const place = () => {
    const { x, y, width, height } = [...document.querySelectorAll('.message .bubble')].at(-1).getBoundingClientRect();
    const { scrollTop, scrollHeight } = document.getElementById('scroller');
    return [x, y, width, height, scrollTop, scrollHeight].map(Math.round);
  };
  await write(ada, 'a text of\n\n- several\n- lines');
  await ada.locator('#pending .bubble').waitFor();
  const first = await ada.evaluate(place);
  await ada.locator('#pending .progress', { hasText: 'Sending…' }).waitFor();
  assert.deepEqual(await ada.evaluate(place), first);
  release();
  await ada.locator('#log .message').nth(1).waitFor();
  await until(ada, () => document.getElementById('pending').hidden, true);
  assert.deepEqual(await ada.evaluate(place), first);
  await clean(ada);
  await server.stop();
});

test('a name that was taken meanwhile is named where the message was refused', async () => {
  const server = await startServer();
  const ada = await person(browser, server.url, 'ada');
  const refusal = { status: 409, json: { error: 'name-taken', message: 'Taken.' } };
  await ada.route('**/chat/lobby', (route) => (route.request().method() === 'POST' ? route.fulfill(refusal) : route.continue()));
  await write(ada, 'hello');
  await ada.locator('#pending .foot', { hasText: 'already uses the name “ada”' }).waitFor();
  await clean(ada);
  await server.stop();
});

test('what waits survives a reload, under the name that it was given last', async () => {
  const server = await startServer();
  const network = await startNetwork(server.url);
  const ada = await person(browser, network.url, 'ada');
  await ada.evaluate(() => { window.onbeforeunload = null; });
  await server.pause();
  // The first is on its way, and the others wait for it.
  await write(ada, 'one', 'two', 'three');
  await until(ada, pending, ['one', 'two', 'three']);
  await (await settings(ada)).locator('#rename').click();
  await ada.locator('#name').fill('ada2');
  await ada.keyboard.press('Enter');
  const saved = () => JSON.parse(sessionStorage['chatroom / pending']).map(({ name, text }) => `${name}: ${text}`);
  await ada.locator('#own-name', { hasText: 'ada2' }).waitFor({ state: 'attached' });
  // At once: what is saved only when an answer comes is lost in a crash.
  assert.deepEqual(await ada.evaluate(saved), ['ada: one', 'ada2: two', 'ada2: three']);
  network.cut();
  server.resume();
  network.restore();
  await ada.reload();
  await shows(ada, ['one', 'two', 'three']);
  await clean(ada);
  network.close();
  await server.stop();
});
