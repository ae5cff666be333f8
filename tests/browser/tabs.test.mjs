// Several tabs of one browser, and several people who want one name.
import test, { after, before } from 'node:test';
import assert from 'node:assert/strict';
import { setTimeout as pause } from 'node:timers/promises';
import { clean, connected, hide, openBrowser, openTab, people, person, post, shows, startServer, until, withVisibility, write } from './support.mjs';

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

test('eight tabs share one stream, and each of them shows and sends', async () => {
  const ada = await person(browser, server.url, 'ada', { room: 'eight' });
  const bob = await person(browser, server.url, 'bob', { room: 'eight' });
  await write(bob, 'backlog');
  const streams = [];
  ada.context().on('request', (request) => request.headers().accept === 'text/event-stream' && streams.push(request.url()));
  const tabs = [ada];
  while (tabs.length < 8) tabs.push(await openTab(ada.context(), server.url, { room: 'eight' }));
  assert.deepEqual(streams, []);
  for (const tab of tabs) await shows(tab, ['backlog']);
  const texts = ['backlog'];
  for (const [n, tab] of tabs.entries()) {
    await write(tab, `from tab ${n}`);
    texts.push(`from tab ${n}`);
    await shows(bob, texts);
  }
  for (const tab of tabs) await shows(tab, texts);
  await until(bob, people, ['ada', 'bob']);
  await clean(ada, bob);
});

test('the tab that holds the stream closes, twice: the next takes over and nothing is missed', async () => {
  const first = await person(browser, server.url, 'ada', { room: 'leader' });
  const second = await openTab(first.context(), server.url, { room: 'leader' });
  const third = await openTab(first.context(), server.url, { room: 'leader' });
  await write(second, 'm0');
  for (const tab of [first, second, third]) await shows(tab, ['m0']);
  const texts = ['m0'];
  const talk = async (count) => {
    for (let n = 0; n < count; n += 1) {
      texts.push(`m${texts.length}`);
      await post(server.url, 'leader', 'bot', texts.at(-1));
    }
  };
  const streams = [];
  first.context().on('request', (request) => request.headers().accept === 'text/event-stream' && streams.push(request.url()));
  await Promise.all([first.close(), talk(30)]);
  for (const tab of [second, third]) await shows(tab, texts);
  await Promise.all([second.close(), talk(30)]);
  await shows(third, texts);
  assert.equal(await third.locator('.gap').count(), 0);
  assert.equal(streams.length, 2);
  for (const url of streams) assert.match(url, /lastEventId=\d+-\d+/);
  await clean(third);
});

test('a tab that is frozen with the stream in its hands does not silence the others', async () => {
  const first = await person(browser, server.url, 'ada', { room: 'frozen' });
  const second = await openTab(first.context(), server.url, { room: 'frozen' });
  await write(second, 'before');
  await shows(first, ['before']);
  // A script that never ends holds the first tab as the system holds a frozen one.
  first.evaluate(() => { for (const end = Date.now() + 14_000; Date.now() < end;); }).catch(() => {});
  assert.equal(await Promise.race([first.evaluate(() => 'awake'), pause(500, 'frozen')]), 'frozen');
  await post(server.url, 'frozen', 'bot', 'meanwhile');
  await second.evaluate(() => document.dispatchEvent(new Event('visibilitychange')));
  await shows(second, ['before', 'meanwhile'], 12_000);
  await shows(first, ['before', 'meanwhile'], 25_000);
  await write(first, 'after');
  for (const tab of [first, second]) await shows(tab, ['before', 'meanwhile', 'after']);
  await clean(first);
});

test('a tab that crashed counts as visible no longer: another one notifies', async () => {
  const first = await person(browser, server.url, 'ada', { room: 'crash', init: withVisibility, watch: (context) => context.clock.install() });
  const second = await openTab(first.context(), server.url, { room: 'crash' });
  await first.locator('#notify').selectOption('all');
  await hide(first, true);
  await first.clock.fastForward(1100); // The history is over.
  await post(server.url, 'crash', 'bot', 'in sight of the second');
  for (const tab of [first, second]) await shows(tab, ['in sight of the second']);
  await second.evaluate(() => { window.onpagehide = document.onvisibilitychange = null; }); // It says no goodbye.
  await second.close();
  await first.clock.fastForward(151_000);
  await connected(first);
  await post(server.url, 'crash', 'bot', 'in sight of nobody');
  await until(first, () => window.notified, ['bot · #crash: in sight of nobody']);
  await clean(first);
});

test('without locks and channels each tab has a stream of its own', async () => {
  const init = () => {
    Object.defineProperty(Navigator.prototype, 'locks', { value: undefined });
    delete window.BroadcastChannel;
  };
  const ada = await person(browser, server.url, 'ada', { room: 'alone', init });
  const second = await openTab(ada.context(), server.url, { room: 'alone' });
  await write(second, 'hello');
  for (const tab of [ada, second]) await shows(tab, ['hello']);
  await until(ada, people, ['ada']);
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
