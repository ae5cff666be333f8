// Several rooms, several tabs, one stream: what is followed, what is unread, where reading stopped.
import test, { after, before } from 'node:test';
import assert from 'node:assert/strict';
import { clean, connected, goTo, hide, openBrowser, openTab, people, person, post, settings, shows, startNetwork, startServer, until, watchStreams, withVisibility, write } from './support.mjs';

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

const rooms = () => [...document.querySelectorAll('#rooms a')].map((node) => node.textContent);
const badges = () => Object.fromEntries([...document.querySelectorAll('#rooms li')].map((node) => [node.querySelector('a').textContent, node.querySelector('.badge').textContent]));
const lines = () => [...document.querySelectorAll('#log > .new, #log .text')].map((node) => (node.classList.contains('new') ? '--' : node.textContent));

test('tabs in several rooms: each is live when it is seen, and can post', async () => {
  const open = watchStreams();
  const ada = await person(browser, server.url, 'ada', { room: 'several-0', init: withVisibility, watch: open });
  const tabs = [ada];
  while (tabs.length < 4) {
    await hide(tabs.at(-1), true);
    tabs.push(await openTab(ada.context(), server.url, { room: `several-${tabs.length}` }));
  }
  for (const [n, tab] of tabs.entries()) {
    await hide(tabs.at(n - 1), true);
    await hide(tab, false);
    await write(tab, `from tab ${n}`);
    await shows(tab, [`from tab ${n}`]);
    await post(server.url, `several-${n}`, 'bot', `to tab ${n}`);
    await shows(tab, [`from tab ${n}`, `to tab ${n}`]);
  }
  assert.deepEqual(new URL(open.latest()).searchParams.getAll('room').sort(), tabs.map((_, n) => `several-${n}`));
  await clean(ada);
});

test('what a room said before comes whole when it is opened beside another, and so does what is said meanwhile', async () => {
  for (let n = 0; n < 250; n += 1) await post(server.url, 'past', `bot ${n}`, `m${n}`);
  const ada = await person(browser, server.url, 'ada', { room: 'past-a' });
  await write(ada, 'a position');
  await shows(ada, ['a position']);
  await ada.route('**/messages?*', async (route) => {
    await post(server.url, 'past', 'bot', 'meanwhile');
    await route.continue();
  }, { times: 1 });
  await goTo(ada, 'past');
  const seen = () => [...document.querySelectorAll('#log .text')].map((node) => node.textContent);
  await until(ada, () => document.querySelector('#log .message:last-child .text')?.textContent, 'meanwhile');
  await until(ada, () => document.querySelectorAll('#log .text').length > 100, true);
  const texts = await ada.evaluate(seen);
  assert.deepEqual(texts, [...Array.from({ length: 250 }, (_, n) => `m${n}`), 'meanwhile'].slice(-texts.length));
  assert.deepEqual(await ada.evaluate(() => [document.querySelectorAll('.gap, #log > .new').length, document.title]), [0, '#past · chatroom']);
  await clean(ada);
});

test('rooms that come and go while others talk lose nothing and double nothing', async () => {
  const ada = await person(browser, server.url, 'ada', { room: 'flow-0' });
  let talking = true;
  const sent = [];
  const talk = (async () => {
    while (talking) {
      sent.push(`m${sent.length}`);
      await post(server.url, 'flow-0', 'bot', sent.at(-1));
      // Fast, but not faster than a busy machine can show.
      await new Promise((wake) => setTimeout(wake, 20));
    }
  })();
  for (const room of ['flow-1', 'flow-2', 'flow-3', 'flow-4']) {
    await goTo(ada, room);
    await connected(ada);
  }
  for (const room of ['flow-1', 'flow-3']) await ada.locator('#rooms li', { hasText: room }).locator('.leave').click();
  talking = false;
  await talk;
  await goTo(ada, 'flow-0');
  const all = () => [...document.querySelectorAll('#log .text')].map((node) => node.textContent);
  const last = sent.at(-1);
  await ada.locator('#scroller').press('End'); // The newest may be below what is rendered.
  await ada.locator('#log .text', { hasText: new RegExp(`^${last}$`) }).waitFor();
  const seen = await ada.evaluate(all);
  assert.deepEqual(seen, sent.slice(-seen.length));
  assert.equal(await ada.locator('.gap').count(), 0);
  await clean(ada);
});

test('a connection that is cut while a room is added resumes all rooms', async () => {
  const network = await startNetwork(server.url);
  const ada = await person(browser, network.url, 'ada', { room: 'cut-1' });
  await post(server.url, 'cut-1', 'bot', 'one');
  await shows(ada, ['one']);
  await post(server.url, 'cut-2', 'bot', 'two');
  network.cut();
  await goTo(ada, 'cut-2');
  await until(ada, () => document.getElementById('status').textContent, 'Reconnecting');
  await post(server.url, 'cut-1', 'bot', 'three');
  await post(server.url, 'cut-2', 'bot', 'four');
  network.restore();
  await shows(ada, ['two', 'four'], 40_000);
  await goTo(ada, 'cut-1');
  await shows(ada, ['one', 'three']);
  assert.equal(await ada.locator('.gap').count(), 0);
  await clean(ada);
  network.close();
});

test('a room that was opened is followed until it is left; the list shows what is unread, and mentions', async () => {
  const ada = await person(browser, server.url, 'ada', { room: 'list-a' });
  for (const room of ['list-b', 'list-c']) {
    await goTo(ada, room);
    await connected(ada);
  }
  assert.equal(await ada.locator('#rooms .badge:visible').count(), 0);
  await connected(ada);
  await post(server.url, 'list-a', 'bot', 'hello');
  await post(server.url, 'list-a', 'bot', 'hello again');
  await post(server.url, 'list-b', 'bot', 'ada, look');
  await until(ada, badges, { 'list-b': '@1', 'list-a': '2', 'list-c': '' });
  await until(ada, rooms, ['list-a', 'list-b', 'list-c']);
  assert.equal(await ada.getByRole('link', { name: 'list-b, 1 unread, 1 mention' }).count(), 1);
  await until(ada, () => document.title, '(3) #list-c · chatroom');
  await until(ada, () => document.getElementById('icon').getAttribute('href'), 'favicon-unread.svg');
  await post(server.url, 'list-z', 'bot', 'elsewhere');
  await ada.reload();
  await connected(ada);
  await until(ada, badges, { 'list-b': '@1', 'list-a': '2', 'list-c': '' });
  await ada.locator('#other-rooms a', { hasText: 'list-z' }).waitFor();
  await ada.locator('#rooms a', { hasText: 'list-b' }).click();
  await until(ada, badges, { 'list-b': '', 'list-a': '2', 'list-c': '' });
  await ada.locator('#rooms li', { hasText: 'list-b' }).hover();
  await ada.getByRole('button', { name: 'Leave #list-b' }).click();
  await until(ada, rooms, ['list-a', 'list-c']);
  await until(ada, () => document.title, '#list-a · chatroom');
  await until(ada, () => document.getElementById('icon').getAttribute('href'), 'favicon.svg');
  await ada.reload();
  await connected(ada);
  await until(ada, rooms, ['list-a', 'list-c']);
  await clean(ada);
});

test('a room that is left keeps its draft, and asks first where messages wait', async () => {
  const ada = await person(browser, server.url, 'ada', { room: 'stay' });
  await goTo(ada, 'gone');
  await connected(ada);
  const text = ada.locator('#text');
  const leave = () => ada.getByRole('button', { name: 'Leave #gone' }).click();
  await text.fill('for later');
  await leave();
  await until(ada, rooms, ['stay']);
  await goTo(ada, 'gone');
  assert.equal(await text.inputValue(), 'for later');
  await ada.route('**/chat/gone', (route) => (route.request().method() === 'POST' ? route.abort() : route.continue()));
  await text.press('Enter');
  await ada.locator('#waiting-text', { hasText: '1 message waits for the server.' }).waitFor();
  await leave();
  await ada.locator('#dialog', { hasText: 'not sent yet' }).waitFor();
  await ada.getByRole('button', { name: 'Cancel' }).click();
  await until(ada, rooms, ['gone', 'stay']);
  await leave();
  await ada.getByRole('button', { name: 'Leave', exact: true }).click();
  await until(ada, rooms, ['stay']);
  await clean(ada);
});

test('rooms stand in one order, whatever happens in them, with numbers as numbers and without case', async () => {
  const ada = await person(browser, server.url, 'ada', { room: 'Order 10'.replace(' ', '-') });
  for (const room of ['order-9', 'Zoo', 'attic']) {
    await goTo(ada, room);
    await connected(ada);
  }
  const order = ['attic', 'order-9', 'Order-10', 'Zoo'];
  await until(ada, rooms, order);
  await connected(ada);
  for (const room of ['Zoo', 'order-9']) {
    await post(server.url, room, 'bot', 'hello');
    await ada.locator('#rooms li', { hasText: room }).locator('.unread').waitFor();
    assert.deepEqual(await ada.evaluate(rooms), order);
  }
  await clean(ada);
});

test('the number beside other rooms says that it counts people, to the eye and to the ear', async () => {
  const ada = await person(browser, server.url, 'ada', { room: 'counted' });
  const bob = await person(browser, server.url, 'bob', { room: 'counted-b' });
  await ada.reload();
  await ada.getByRole('link', { name: 'counted-b, 1 person' }).waitFor();
  const badge = ada.locator('#other-rooms li', { hasText: 'counted-b' }).locator('.badge');
  assert.ok(await badge.locator('svg').isVisible());
  assert.equal(await badge.textContent(), '1');
  await clean(ada, bob);
});

test('a room is found without case, in the field and by a link; one that differs by it alone can still be opened', async () => {
  await post(server.url, 'Found', 'bot', 'here');
  const ada = await person(browser, server.url, 'ada', { room: 'searching' });
  await ada.locator('#other-rooms a', { hasText: 'Found' }).waitFor();
  await ada.locator('#room-input').fill('#fOUND');
  await ada.keyboard.press('Enter');
  await shows(ada, ['here']);
  await goTo(ada, 'SEARCHING'.toLowerCase());
  await ada.evaluate(() => { location.hash = '#found'; });
  await shows(ada, ['here']);
  await post(server.url, 'found', 'bot', 'there');
  await ada.reload();
  await ada.locator('#other-rooms a', { hasText: /^found$/ }).click();
  await shows(ada, ['there']);
  await clean(ada);
});

test('what one tab has read is read in the others, and a room left in one is left in all', async () => {
  const ada = await person(browser, server.url, 'ada', { room: 'both-a' });
  await goTo(ada, 'both-b');
  await connected(ada);
  const second = await openTab(ada.context(), server.url, { room: 'both-b' });
  await connected(ada);
  await post(server.url, 'both-a', 'bot', 'news');
  for (const tab of [ada, second]) await until(tab, badges, { 'both-a': '1', 'both-b': '' });
  await goTo(ada, 'both-a');
  await until(second, badges, { 'both-a': '', 'both-b': '' });
  await goTo(ada, 'both-b');
  await ada.locator('#rooms li', { hasText: 'both-a' }).hover();
  await ada.getByRole('button', { name: 'Leave #both-a' }).click();
  for (const tab of [ada, second]) await until(tab, rooms, ['both-b']);
  await clean(ada);
});

test('a tab under another name follows the same rooms, under that name', async () => {
  const ada = await person(browser, server.url, 'ada', { room: 'two-names' });
  const second = await openTab(ada.context(), server.url, { room: 'two-names-b' });
  await (await settings(second)).locator('#rename').click();
  await second.locator('#name').fill('Grace');
  await second.locator('#name').press('Enter');
  await write(second, 'as Grace');
  await shows(second, ['as Grace']);
  for (const tab of [ada, second]) await until(tab, rooms, ['two-names', 'two-names-b']);
  await write(ada, 'as ada');
  await shows(ada, ['as ada']);
  await until(ada, people, ['ada', 'Grace']);
  await clean(ada);
});

test('mentions notify in any followed room, all messages where wanted, and none of what one looks at', async () => {
  const ada = await person(browser, server.url, 'ada', { room: 'ring-a', init: withVisibility });
  await goTo(ada, 'ring-b');
  await connected(ada);
  await (await settings(ada)).locator('#notify').selectOption('mentions');
  await connected(ada);
  await post(server.url, 'ring-b', 'bot', 'ada, in sight');
  await post(server.url, 'ring-a', 'bot', 'nothing for you');
  await post(server.url, 'ring-a', 'bot', 'ada, over here');
  await until(ada, () => window.notified, ['bot · #ring-a: ada, over here']);
  await (await settings(ada)).locator('#notify').selectOption('all');
  await until(ada, () => document.getElementById('notify').value, 'all');
  await hide(ada, true);
  await post(server.url, 'ring-b', 'bot', 'anything');
  await until(ada, () => window.notified.at(-1), 'bot · #ring-b: anything');
  await ada.evaluate(() => window.notifications.at(-2).dispatchEvent(new Event('click')));
  await until(ada, () => document.getElementById('room-title').textContent, 'ring-a');
  await (await settings(ada)).locator('#notify').selectOption('off');
  await until(ada, () => document.getElementById('notify').value, 'off');
  const before = await ada.evaluate(() => window.notified.length);
  await post(server.url, 'ring-b', 'bot', 'ada, quietly');
  await until(ada, () => [...document.querySelectorAll('#rooms .badge')].some((node) => node.textContent === '@1'), true);
  assert.equal(await ada.evaluate(() => window.notified.length), before);
  await clean(ada);
});

const countTones = () => {
  window.tones = 0;
  const { start } = OscillatorNode.prototype;
  OscillatorNode.prototype.start = function count(...times) { window.tones += 1; return start.apply(this, times); };
};

test('a sound where it is wanted', async () => {
  const ada = await person(browser, server.url, 'ada', { room: 'sound', init: withVisibility });
  await ada.evaluate(countTones);
  await (await settings(ada)).locator('#notify').selectOption('all');
  await until(ada, () => document.getElementById('not-notified').hidden, true);
  await (await settings(ada)).locator('#sound').check();
  await until(ada, () => window.tones, 1);
  await connected(ada);
  await hide(ada, true);
  await post(server.url, 'sound', 'bot', 'ring');
  await until(ada, () => window.tones, 2);
  // Once a second at most.
  const later = Date.now() + 5000;
  await ada.clock.setFixedTime(later);
  for (let n = 0; n < 5; n += 1) await post(server.url, 'sound', 'bot', 'at once');
  await until(ada, () => [window.notified.length, window.tones], [6, 3]);
  await ada.clock.setFixedTime(later + 1100);
  await post(server.url, 'sound', 'bot', 'ring');
  await until(ada, () => window.tones, 4);
  await clean(ada);
});

test('where notifications are blocked, or there are none, the page says so, keeps the choice, and plays the sound', async () => {
  const blocked = () => { window.Notification = { permission: 'denied', requestPermission: async () => 'denied' }; };
  // In rooms of their own, since a name is free only after its grace.
  for (const [room, init] of Object.entries({ blocked, absent: () => { delete window.Notification; } })) {
    const ada = await person(browser, server.url, 'ada', { room, init });
    await ada.evaluate(countTones);
    assert.ok(await ada.locator('#not-notified').isHidden());
    await (await settings(ada)).locator('#notify').selectOption('all');
    await ada.getByText('This browser shows no notifications here').waitFor();
    assert.equal(await ada.locator('#notify').inputValue(), 'all');
    await (await settings(ada)).locator('#sound').check();
    await connected(ada);
    await hide(ada, true);
    await post(server.url, room, 'bot', 'ring');
    await until(ada, () => window.tones, 2);
    await clean(ada);
  }
});

test('a line stands where reading stopped: after the tab was hidden, and after another room or another visit', async () => {
  const ada = await person(browser, server.url, 'ada', { room: 'line', init: withVisibility });
  await post(server.url, 'line', 'bot', 'one');
  await shows(ada, ['one']);
  await connected(ada);
  await post(server.url, 'line', 'bot', 'two');
  await until(ada, lines, ['one', 'two']);
  await hide(ada, true);
  await post(server.url, 'line', 'bot', 'three');
  await until(ada, lines, ['one', 'two', '--', 'three']);
  await hide(ada, false);
  await post(server.url, 'line', 'bot', 'four');
  await until(ada, lines, ['one', 'two', '--', 'three', 'four']);
  await goTo(ada, 'line-b');
  await connected(ada);
  await post(server.url, 'line', 'bot', 'five');
  // It has to be there before the room is seen again.
  await until(ada, () => [...document.querySelectorAll('#rooms li')].some((node) => node.querySelector('a').textContent === 'line' && node.querySelector('.badge').textContent === '1'), true);
  await ada.goBack();
  await until(ada, lines, ['one', 'two', 'three', 'four', '--', 'five']);
  await write(ada, 'answer');
  await until(ada, lines, ['one', 'two', 'three', 'four', 'five', 'answer']);
  await ada.goto('about:blank');
  for (let n = 0; n < 40; n += 1) await post(server.url, 'line', 'bot', `later ${n}`);
  await ada.goto(`${server.url}/#line`);
  await ada.locator('#log > .new').waitFor();
  await ada.locator('#jump', { hasText: /new messages/ }).waitFor();
  await until(ada, () => {
    const [line, frame] = ['.new', '#scroller'].map((selector) => document.querySelector(selector).getBoundingClientRect());
    return line.top >= frame.top - 1 && line.bottom <= frame.top + 80;
  }, true);
  await clean(ada);
});

test('what was in sight when the page was opened again counts as read', async () => {
  const ada = await person(browser, server.url, 'ada', { room: 'again' });
  await post(server.url, 'again', 'bot', 'one');
  await shows(ada, ['one']);
  await ada.goto('about:blank');
  await post(server.url, 'again', 'bot', 'ada, two');
  await ada.goto(`${server.url}/#again`);
  await until(ada, lines, ['one', '--', 'ada, two']);
  await until(ada, badges, { again: '' });
  await until(ada, () => document.title, '#again · chatroom');
  await clean(ada);
});

test('the place in a room is kept while one is in another', async () => {
  for (let n = 0; n < 60; n += 1) await post(server.url, 'place', 'bot', `m${n}\n.`);
  const ada = await person(browser, server.url, 'ada', { room: 'place' });
  await ada.locator('#log .text', { hasText: 'm59' }).waitFor();
  const top = () => document.querySelector('#scroller').scrollTop > 0 && Math.round([...document.querySelectorAll('.message')].find((node) => /m30\b/.test(node.textContent)).getBoundingClientRect().top);
  await ada.locator('.message', { hasText: 'm30' }).evaluate((node) => { document.getElementById('scroller').scrollTop = node.offsetTop - 50; });
  await ada.locator('#jump').waitFor();
  const before = await ada.evaluate(top);
  await goTo(ada, 'place-b');
  await connected(ada);
  await post(server.url, 'place', 'bot', 'meanwhile');
  await ada.goBack();
  await ada.locator('#log .text', { hasText: 'm59' }).waitFor();
  await until(ada, top, before);
  await clean(ada);
});

test('a followed room in which the name is taken does not keep the others from being heard', async () => {
  const ada = await person(browser, server.url, 'ada', { room: 'mine' });
  const other = await person(browser, server.url, 'bob', { room: 'theirs' });
  const bob = await person(browser, server.url, 'bob', { room: 'mine' });
  await bob.evaluate(() => { location.hash = '#theirs'; });
  await bob.locator('#name-help.problem', { hasText: 'already uses the name “bob”' }).waitFor();
  await write(other, 'mine is mine');
  await shows(bob, ['mine is mine']);
  await goTo(bob, 'mine');
  await until(bob, () => document.getElementById('own-name').textContent, 'bob');
  await write(bob, 'still bob');
  await shows(ada, ['still bob']);
  await clean(ada, bob, other);
});

test('a followed room that the server offers no longer is left out and forgotten', async () => {
  const first = await startServer(['--room', 'garden', '--room', 'shed']);
  const ada = await person(browser, first.url, 'ada', { room: 'shed' });
  await goTo(ada, 'garden');
  await connected(ada);
  await first.stop();
  const second = await startServer(['--room', 'garden'], first.address);
  await connected(ada);
  await until(ada, rooms, ['garden']);
  await write(ada, 'still here');
  await shows(ada, ['still here']);
  await clean(ada);
  await second.stop();
});

test('who takes another name takes the rooms along', async () => {
  const ada = await person(browser, server.url, 'ada', { room: 'along-a' });
  const bob = await person(browser, server.url, 'bob', { room: 'along-a' });
  await goTo(ada, 'along-b');
  await connected(ada);
  await (await settings(ada)).locator('#rename').click();
  await ada.locator('#name').fill('Grace');
  await ada.locator('#name').press('Enter');
  await until(ada, () => document.getElementById('own-name').textContent, 'Grace');
  await connected(ada);
  await until(ada, () => document.querySelectorAll('#rooms li').length, 2);
  await until(bob, people, ['bob', 'Grace'], 25_000);
  await clean(ada, bob);
});

test('on a phone the button of the rooms shows what is unread elsewhere, and mentions in their colour', async () => {
  const ada = await person(browser, server.url, 'ada', { room: 'mark-a', viewport: { width: 390, height: 780 }, hasTouch: true, isMobile: true });
  await goTo(ada, 'mark-b');
  await connected(ada);
  const mark = () => ada.locator('#menu').evaluate((node) => [node.ariaLabel, getComputedStyle(node, '::after').content === 'none' ? '' : getComputedStyle(node, '::after').backgroundColor]);
  assert.equal((await mark())[1], '');
  await post(server.url, 'mark-a', 'bot', 'hello');
  await ada.getByRole('button', { name: /1 unread$/ }).waitFor();
  const [, unread] = await mark();
  await post(server.url, 'mark-a', 'bot', 'hello ada');
  await ada.getByRole('button', { name: /2 unread, 1 mention$/ }).waitFor();
  const [, mentioned] = await mark();
  assert.ok(unread && mentioned && unread !== mentioned, `${unread} ${mentioned}`);
  await clean(ada);
});

test('a room may have a name that means something to JavaScript', async () => {
  const ada = await person(browser, server.url, 'ada', { room: '__proto__' });
  await write(ada, 'hello');
  await shows(ada, ['hello']);
  await goTo(ada, 'constructor');
  await connected(ada);
  await until(ada, rooms, ['__proto__', 'constructor']);
  assert.equal(await ada.evaluate(() => 'read' in {}), false);
  await ada.reload();
  await connected(ada);
  await until(ada, rooms, ['__proto__', 'constructor']);
  await clean(ada);
});

test('where a page may not show notifications, as on Android, a service worker does, and leads to the room', async () => {
  const init = () => {
    window.Notification = class { static permission = 'granted'; static requestPermission = async () => 'granted'; constructor() { throw new TypeError('Illegal constructor'); } };
    window.refused = [];
    const { showNotification } = ServiceWorkerRegistration.prototype;
    ServiceWorkerRegistration.prototype.showNotification = function show(...args) {
      return showNotification.apply(this, args).catch((error) => window.refused.push(String(error)));
    };
  };
  const ada = await person(browser, server.url, 'ada', { room: 'worker-a', init, permissions: ['notifications'] });
  await goTo(ada, 'worker-b');
  await connected(ada);
  await settings(ada);
  await ada.locator('#notify').selectOption('mentions');
  await ada.evaluate(async () => { await navigator.serviceWorker.ready; });
  await post(server.url, 'worker-a', 'bot', 'hello ada');
  const shown = async () => [...window.refused, ...(await (await navigator.serviceWorker.ready).getNotifications()).map(({ title, body }) => `${title}: ${body}`)];
  await until(ada, shown, ['bot · #worker-a: hello ada']);
  const [worker] = ada.context().serviceWorkers();
  await worker.evaluate(async () => {
    const [notification] = await self.registration.getNotifications();
    self.clients.matchAll = ((original) => async (options) => (await original.call(self.clients, options)).map((client) => ({ postMessage: (room) => client.postMessage(room), focus: async () => {} })))(self.clients.matchAll);
    self.dispatchEvent(new NotificationEvent('notificationclick', { notification }));
  });
  await until(ada, () => document.getElementById('room-title').textContent, 'worker-a');
  assert.deepEqual(await ada.evaluate(() => caches.keys()), []);
  await clean(ada);
});
