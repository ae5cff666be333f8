// Several tabs of one browser, and several people who want one name.
import test, { after, before } from 'node:test';
import assert from 'node:assert/strict';
import { until as untilHere } from '../common/support.mjs';
import { clean, connected, goTo, hide, openBrowser, openTab, people, person, post, settings, shows, startServer, until, watchStreams, withVisibility, write } from './support.mjs';

let browser;
let server;
before(async () => {
  browser = await openBrowser();
  server = await startServer(['--message-rate', '0']);
});
after(async () => {
  await browser.close();
  await server.stop();
});

test('eight tabs over plain HTTP/1.1, all in sight: each of them sends and shows all', async () => {
  // Not on loopback, where a browser has more to offer, Web Locks for one.
  const plain = await openBrowser('--host-resolver-rules=MAP chat.example 127.0.0.1');
  const own = await startServer(['--message-rate', '0', '--allow-host', 'chat.example']);
  const url = own.url.replace('127.0.0.1', 'chat.example');
  const open = watchStreams();
  const ada = await person(plain, url, 'ada', { watch: open });
  assert.equal(await ada.evaluate(() => navigator.locks), undefined);
  const tabs = [ada];
  while (tabs.length < 8) tabs.push(await openTab(ada.context(), url));
  const texts = [];
  for (const [n, tab] of tabs.entries()) {
    await write(tab, `from tab ${n}`);
    texts.push(`from tab ${n}`);
    await shows(tab, texts);
  }
  for (const tab of tabs) await shows(tab, texts);
  // Those that were given up are told of a little later.
  await untilHere(() => open.count() < 6, 'less than six streams');
  assert.equal(await ada.locator('.tag').count(), 0);
  await clean(ada);
  await plain.close();
  await own.stop();
});

test('of eight tabs the one that is seen has a stream, and one that watches; nothing is missed in any', async () => {
  const open = watchStreams();
  const ada = await person(browser, server.url, 'ada', { room: 'eight', init: withVisibility, watch: open });
  const bob = await person(browser, server.url, 'bob', { room: 'eight' });
  const tabs = [ada];
  while (tabs.length < 8) {
    await hide(tabs.at(-1), true);
    tabs.push(await openTab(ada.context(), server.url, { room: 'eight' }));
  }
  const texts = [];
  for (const [n, tab] of tabs.entries()) {
    await hide(tabs.at(n - 1), true);
    await hide(tab, false);
    await shows(tab, texts);
    await write(tab, `from tab ${n}`);
    texts.push(`from tab ${n}`);
    await shows(bob, texts);
    await untilHere(() => open.count() === 2, 'two streams');
  }
  assert.equal(await tabs[3].locator('.gap').count(), 0);
  await until(bob, people, ['ada', 'bob']);
  await clean(ada, bob);
});

test('six hidden tabs under six names leave two connections for what is in sight', async () => {
  const open = watchStreams();
  const ada = await person(browser, server.url, 'ada0', { room: 'six', init: withVisibility, watch: open });
  for (let n = 1; n < 7; n += 1) {
    await hide(ada.context().pages().at(-1), true);
    const tab = await openTab(ada.context(), server.url, { room: 'six' });
    await (await settings(tab)).locator('#rename').click();
    await tab.locator('#name').fill(`ada${n}`);
    await tab.locator('#name').press('Enter');
    await tab.locator('#own-name', { hasText: `ada${n}` }).waitFor({ state: 'attached' });
    await connected(tab);
  }
  await untilHere(() => open.count() <= 4, 'no more than four streams');
  await clean(ada);
});

test('when the tab that watches closes, another hidden one watches, without telling again of what is past', async () => {
  const first = await person(browser, server.url, 'ada', { room: 'watch', init: withVisibility });
  await (await settings(first)).locator('#notify').selectOption('all');
  const second = await openTab(first.context(), server.url, { room: 'watch' });
  for (const tab of [first, second]) await hide(tab, true);
  await post(server.url, 'watch', 'bot', 'one');
  await until(second, () => window.notified, ['bot · #watch: one']);
  await second.close();
  await until(first, () => [...document.querySelectorAll('#log .text')].map((node) => node.textContent), ['one']);
  await connected(first);
  await post(server.url, 'watch', 'bot', 'two');
  await until(first, () => window.notified, ['bot · #watch: two']);
  await hide(first, false);
  await shows(first, ['one', 'two']);
  await clean(first);
});

test('a tab that crashed counts as visible no longer: another one notifies', async () => {
  const first = await person(browser, server.url, 'ada', { room: 'crash', init: withVisibility, watch: (context) => context.clock.install() });
  const second = await openTab(first.context(), server.url, { room: 'crash' });
  await (await settings(first)).locator('#notify').selectOption('all');
  await hide(first, true);
  await post(server.url, 'crash', 'bot', 'in sight of the second');
  for (const tab of [first, second]) await shows(tab, ['in sight of the second']);
  await second.evaluate(() => { window.onpagehide = window.onblur = document.onvisibilitychange = null; }); // It says no goodbye.
  await second.close();
  // It was silent for as long, and comes back: what it missed meanwhile is past.
  const again = first.waitForRequest(/\/chat\?/);
  await first.clock.fastForward(151_000);
  await again;
  await connected(first);
  await post(server.url, 'crash', 'bot', 'in sight of nobody');
  await until(first, () => window.notified, ['bot · #crash: in sight of nobody']);
  await clean(first);
});

test('a draft outlives what another tab sends in its room', async () => {
  const ada = await person(browser, server.url, 'ada', { room: 'drafts' });
  const second = await openTab(ada.context(), server.url, { room: 'drafts' });
  const draft = ada.locator('#text');
  await draft.fill('half a letter');
  await write(second, 'quick');
  await shows(ada, ['quick']);
  await goTo(ada, 'elsewhere');
  assert.equal(await draft.inputValue(), '');
  await goTo(ada, 'drafts');
  assert.equal(await draft.inputValue(), 'half a letter');
  await write(second, 'quicker');
  await shows(ada, ['quick', 'quicker']);
  await ada.reload();
  await connected(ada);
  assert.equal(await draft.inputValue(), 'half a letter');
  // Once it is sent, it is a draft in no tab.
  await second.reload();
  await second.locator('#text').press('Enter');
  await shows(ada, ['quick', 'quicker', 'half a letter']);
  await until(ada, () => document.getElementById('text').value, '');
  await clean(ada);
});

test('in sight but not in use, a tab counts what comes as unread, and one notifies for all', async () => {
  const ada = await person(browser, server.url, 'ada', { room: 'beside', init: withVisibility });
  await (await settings(ada)).locator('#notify').selectOption('all');
  const tabs = [ada, await openTab(ada.context(), server.url, { room: 'beside' })];
  const use = (tab, used) => tab.evaluate((value) => {
    document.hasFocus = () => value;
    window.dispatchEvent(new Event(value ? 'focus' : 'blur'));
  }, used);
  const notified = async () => (await Promise.all(tabs.map((tab) => tab.evaluate(() => window.notified)))).flat();
  for (const tab of tabs) await use(tab, false);
  await post(server.url, 'beside', 'bot', 'one');
  for (const tab of tabs) await until(tab, () => document.title, '(1) #beside · chatroom');
  assert.deepEqual(await notified(), ['bot · #beside: one']);
  await use(ada, true);
  await until(ada, () => [document.title, document.querySelectorAll('#log > .new').length], ['#beside · chatroom', 1]);
  await post(server.url, 'beside', 'bot', 'two');
  for (const tab of tabs) await shows(tab, ['one', 'two']);
  assert.deepEqual(await notified(), ['bot · #beside: one']);
  await clean(ada);
});

test('a name that is taken is said in words; one reads along meanwhile and joins under another', async () => {
  const ada = await person(browser, server.url, 'ada', { room: 'names' });
  const other = await person(browser, server.url, '', { room: 'names' });
  await other.locator('#name').fill('ADA');
  await other.locator('#name').press('Enter');
  await other.locator('#name-help.problem', { hasText: 'already uses the name “ADA”' }).waitFor();
  await connected(other);
  await write(ada, 'hello');
  await shows(other, ['hello']);
  await other.locator('#name').fill('bob');
  await other.locator('#name').press('Enter');
  await until(ada, people, ['ada', 'bob']);
  await write(other, 'hello too');
  await shows(ada, ['hello', 'hello too']);
  await clean(ada, other);
});

test('a name that cannot be used is refused in words', async () => {
  const ada = await person(browser, server.url, '', { room: 'names-2' });
  await ada.locator('#name').fill('a\u200bda');
  await ada.locator('#name').press('Enter');
  await ada.locator('#name-help.problem').waitFor();
  await connected(ada);
  await clean(ada);
});

test('a room that is not offered, and a server without a place, are said in words', async () => {
  const small = await startServer(['--room', 'garden', '--max-streams', '1']);
  const ada = await person(browser, small.url, 'ada', { room: 'garden' });
  const context = await browser.newContext({ locale: 'en-GB' });
  const bob = await context.newPage();
  await bob.goto(`${small.url}/#attic`);
  await bob.locator('#notice').waitFor();
  assert.ok((await bob.locator('#notice-text').textContent()).length > 10);
  await bob.locator('#status', { hasText: 'Not connected' }).waitFor();
  await bob.goto(`${small.url}/#garden`);
  await bob.locator('#notice-text', { hasText: 'The server is full' }).waitFor();
  await clean(ada);
  await connected(bob);
  await context.close();
  await small.stop();
});

test('without a fragment the page opens the room that the server offers first', async () => {
  const small = await startServer(['--room', 'garden', '--room', 'shed']);
  const context = await browser.newContext({ locale: 'en-GB' });
  const ada = await context.newPage();
  await ada.goto(small.url);
  await ada.locator('#room-title', { hasText: 'garden' }).waitFor();
  await connected(ada);
  assert.ok(await ada.locator('#notice').isHidden());
  await context.close();
  await small.stop();
});
