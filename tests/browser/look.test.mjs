// What is seen, read out and copied, on every kind of screen.
import test, { after, before } from 'node:test';
import assert from 'node:assert/strict';
import { clean, goTo, openBrowser, person, post, shows, startServer, until, write } from './support.mjs';

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

for (const [name, viewport] of [['upright', { width: 390, height: 780 }], ['lying', { width: 844, height: 390 }]]) {
  test(`a phone ${name}: the side panel takes no room, is modal while it is open, and closes by its button and by the room one is in`, async () => {
    const ada = await person(browser, server.url, 'ada', { room: `panel-${name}`, viewport, hasTouch: true, isMobile: true });
    assert.equal((await ada.locator('main').boundingBox()).width, viewport.width);
    await ada.locator('#menu').tap();
    await ada.locator('#side-close').waitFor();
    assert.equal(await ada.locator('main').evaluate((node) => node.inert && document.querySelector('#bar').inert), true);
    for (let n = 0; n < 20; n += 1) {
      await ada.keyboard.press('Tab');
      assert.ok(await ada.evaluate(() => document.activeElement === document.body || Boolean(document.activeElement.closest('#side'))));
    }
    await ada.locator('#side-close').tap();
    await ada.locator('#side-close').waitFor({ state: 'hidden' });
    assert.deepEqual(await ada.evaluate(() => [document.activeElement.id, document.querySelector('main').inert]), ['menu', false]);
    await ada.locator('#menu').tap();
    await ada.locator('#rooms [aria-current]').tap();
    await ada.locator('#side-close').waitFor({ state: 'hidden' });
    await clean(ada);
  });
}

test('a long room name is cut off, so that the side panel keeps its width', async () => {
  await post(server.url, 'W'.repeat(64), 'bot', 'hello');
  const ada = await person(browser, server.url, 'ada', { room: 'wide' });
  await ada.locator('#other-rooms a', { hasText: 'WWW' }).waitFor();
  assert.ok(await ada.locator('.lists').evaluate((node) => node.scrollWidth <= node.clientWidth));
  await clean(ada);
});

test('with 60 people one\'s own name and buttons stay in sight', async () => {
  const ada = await person(browser, server.url, 'ada', { room: 'crowd' });
  const members = Array.from({ length: 60 }, (_, n) => `person ${n}`);
  const greeting = { eventId: '1-0', room: 'crowd', name: 'ada', author: '0', members: ['ada', ...members], memberCount: 61, listenerCount: 0, heartbeatSeconds: 15 };
  await ada.route(/\/chat\?/, (route) => route.fulfill({ headers: { 'Content-Type': 'text/event-stream' }, body: `event: chat-room-connected\ndata: ${JSON.stringify(greeting)}\n\n` }));
  await ada.reload();
  await ada.locator('.person', { hasText: 'person 59' }).waitFor({ state: 'attached' });
  for (const id of ['own-name', 'rename', 'notify']) {
    const box = await ada.locator(`#${id}`).boundingBox();
    assert.ok(box.y > 0 && box.y + box.height <= 720, id);
  }
  await clean(ada);
});

test('in forced colours bubbles, the status, the jump button and the current room have edges that are seen', async () => {
  const ada = await person(browser, server.url, 'ada', { room: 'forced', forcedColors: 'active' });
  await write(ada, 'own');
  await post(server.url, 'forced', 'bot', 'other');
  for (let n = 0; n < 60; n += 1) await post(server.url, 'forced', 'bot', `m${n}`);
  await post(server.url, 'forced-b', 'bot', 'elsewhere');
  await ada.reload();
  await ada.locator('#other-rooms a').first().waitFor();
  await ada.locator('#log .text', { hasText: 'm59' }).waitFor();
  await ada.locator('#scroller').evaluate((node) => { node.scrollTop = 100; });
  await ada.locator('#jump').waitFor();
  const seen = await ada.evaluate(() => {
    const edge = (selector, property = 'border-top') => {
      const style = getComputedStyle(document.querySelector(selector));
      return style[`${property}-width`] !== '0px' && style[`${property}-style`] !== 'none' && style[`${property}-color`] !== style.backgroundColor;
    };
    const dot = getComputedStyle(document.querySelector('.dot')).backgroundColor;
    const others = ['#other-rooms a', '#other-rooms li'].map((selector) => edge(selector) || edge(selector, 'outline'));
    return [edge('.bubble'), edge('#jump'), edge('.rooms li:has([aria-current])', 'outline'), ...others, dot !== getComputedStyle(document.querySelector('#bar')).backgroundColor];
  });
  assert.deepEqual(seen, [true, true, true, false, false, true]);
  await clean(ada);
});

test('fields have edges of at least 3:1 and bubbles stand out from the ground, in both themes', async () => {
  const ada = await person(browser, server.url, 'ada', { room: 'edges' });
  await post(server.url, 'edges', 'bot', 'hello');
  await ada.locator('.bubble').waitFor();
  for (const colorScheme of ['light', 'dark']) {
    await ada.emulateMedia({ colorScheme });
    const [field, bubble] = await ada.evaluate(() => {
      const luminance = (colour) => {
        const [r, g, b] = colour.match(/\d+/g).map((part) => (part / 255 <= 0.04045 ? part / 255 / 12.92 : ((part / 255 + 0.055) / 1.055) ** 2.4));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
      };
      const contrast = (a, b) => (Math.max(luminance(a), luminance(b)) + 0.05) / (Math.min(luminance(a), luminance(b)) + 0.05);
      const edge = (selector) => getComputedStyle(document.querySelector(selector)).borderTopColor;
      const grounds = [getComputedStyle(document.body).backgroundColor, getComputedStyle(document.querySelector('#side')).backgroundColor];
      return [Math.min(...grounds.map((ground) => contrast(edge('#room-input'), ground))), contrast(edge('.bubble'), grounds[0])];
    });
    assert.ok(field >= 3, `${colorScheme}: ${field}`);
    assert.ok(bubble >= 1.4, `${colorScheme}: ${bubble}`);
  }
  await clean(ada);
});

test('new messages are read out once; what scrolling or another room brings is not', async () => {
  for (let n = 0; n < 200; n += 1) await post(server.url, 'aloud', 'bot', `m${n}`);
  const start = Date.now(); // The page's clock stands still, so that all that comes is history until it is moved.
  const ada = await person(browser, server.url, 'ada', { room: 'aloud', watch: (context) => context.clock.setFixedTime(start) });
  await ada.locator('#log .text', { hasText: 'm199' }).waitFor();
  assert.equal(await ada.locator('#log').getAttribute('aria-live'), 'off');
  await ada.locator('#scroller').evaluate((node) => { node.scrollTop = 0; });
  await ada.locator('#log .text', { hasText: 'm120' }).waitFor({ state: 'attached' });
  const spoken = () => document.getElementById('spoken').textContent;
  assert.equal(await ada.evaluate(spoken), '');
  await post(server.url, 'aloud-b', 'bot', 'said before');
  for (const [room, text] of [['aloud-b', 'said before'], ['aloud', 'm199']]) {
    await goTo(ada, room);
    await ada.locator('#log .text', { hasText: text }).waitFor({ state: 'attached' });
  }
  assert.equal(await ada.evaluate(spoken), '');
  await ada.clock.setFixedTime(start + 1100);
  await post(server.url, 'aloud', 'bot', 'news');
  await until(ada, spoken, 'bot: news');
  await clean(ada);
});

test('code is scrolled sideways, by keyboard too, and does not wrap', async () => {
  const ada = await person(browser, server.url, 'ada', { room: 'code' });
  await write(ada, `\`\`\`\n${'word '.repeat(60)}\n\`\`\``);
  const block = ada.locator('#log pre');
  await block.waitFor();
  assert.ok(await block.evaluate((node) => node.scrollWidth > node.clientWidth && node.clientHeight < 60 && node.tabIndex === 0));
  assert.ok(await ada.locator('#scroller').evaluate((node) => node.scrollWidth <= node.clientWidth));
  await clean(ada);
});

test('while all is well the number of people is shown, and "Connected" only read out', async () => {
  const ada = await person(browser, server.url, 'ada', { room: 'count' });
  const bob = await person(browser, server.url, 'bob', { room: 'count' });
  await ada.locator('#here', { hasText: '2 people' }).waitFor();
  assert.ok((await ada.locator('#status').boundingBox()).width <= 1);
  await ada.context().setOffline(true);
  await ada.locator('#status', { hasText: 'Offline' }).waitFor();
  assert.ok((await ada.locator('#status').boundingBox()).width > 20);
  assert.ok(await ada.locator('#here').isHidden());
  await clean(ada, bob);
});

test('one\'s own colour is the same in the list of people and beside one\'s name, before the first message', async () => {
  const ada = await person(browser, server.url, 'ada', { room: 'hue' });
  const hues = () => ['#people li', '#own'].map((selector) => document.querySelector(selector).style.getPropertyValue('--hue'));
  await until(ada, () => document.querySelectorAll('#people li').length, 1);
  const [listed, own] = await ada.evaluate(hues);
  assert.equal(listed, own);
  await clean(ada);
});

test('copied messages hold names, times and texts, but no letters of avatars and no buttons', async () => {
  const ada = await person(browser, server.url, 'ada', { room: 'copied' });
  await post(server.url, 'copied', 'Zoë', 'hello');
  await shows(ada, ['hello']);
  const copied = await ada.evaluate(() => {
    getSelection().selectAllChildren(document.getElementById('log'));
    return getSelection().toString();
  });
  assert.match(copied.replace(/\s+/g, ' '), /Today Zoë via API \d\d:\d\d hello ?$/);
  await clean(ada);
});

test('messages of one person that are minutes apart show their times without a pointer', async () => {
  const ada = await person(browser, server.url, 'ada', { room: 'times' });
  const noon = new Date(2024, 4, 6, 12).getTime();
  const messages = [0, 20_000, 90_000].map((later, n) => ({ eventId: `${n + 1}-0`, room: 'times', name: 'bob', author: 'b', member: true, text: `m${n}`, sentAt: noon + later }));
  const greeting = { eventId: '0-1', room: 'times', name: 'ada', author: '0', members: ['ada'], memberCount: 1, listenerCount: 0, heartbeatSeconds: 15 };
  const body = [['chat-room-connected', greeting], ...messages.map((message) => ['new-message', message])]
    .map(([event, data]) => `event: ${event}\nid: ${data.eventId}\ndata: ${JSON.stringify(data)}\n\n`).join('');
  await ada.route(/\/chat\?/, (route) => route.fulfill({ headers: { 'Content-Type': 'text/event-stream' }, body }));
  await ada.reload();
  await until(ada, () => [...document.querySelectorAll('.message')].map((node) => node.querySelector('time')?.textContent ?? ''), ['12:00', '', '12:01']);
  await clean(ada);
});

test('words and dates are in one language: no Simplified Chinese for Taiwan, no Arabic digits in English', async () => {
  for (const [locale, language] of [['zh-TW', 'en'], ['ar-EG', 'en'], ['zh-SG', 'zh-Hans']]) {
    const ada = await person(browser, server.url, `reader of ${locale}`, { room: 'language', locale });
    await post(server.url, 'language', 'bot', 'hello');
    await ada.locator('time').first().waitFor();
    assert.equal(await ada.evaluate(() => document.documentElement.lang), language);
    assert.match(await ada.locator('time').first().textContent(), /\d\d/);
    assert.doesNotMatch(await ada.locator('.message').first().getAttribute('title'), /[\u0660-\u0669]/);
    await clean(ada);
  }
});

test('the page can be installed: a manifest with icons, and policies that allow them', async () => {
  const ada = await person(browser, server.url, 'ada', { room: 'install' });
  const session = await ada.context().newCDPSession(ada);
  const { errors, data, url } = await session.send('Page.getAppManifest');
  assert.deepEqual([errors, url], [[], `${server.url}/manifest.webmanifest`]);
  for (const { src, type } of JSON.parse(data).icons) {
    const answer = await fetch(new URL(src, url));
    assert.equal(answer.headers.get('content-type'), type);
  }
  const { installabilityErrors } = await session.send('Page.getInstallabilityErrors');
  assert.deepEqual(installabilityErrors.filter(({ errorId }) => errorId !== 'in-incognito'), []);
  await clean(ada);
});

/** A page on a line of 1.6 Mbit/s with 150 ms, when it shows its first message; and how long that took from the first byte asked for. */
async function openSlowly(locale) {
  const context = await browser.newContext({ locale });
  const page = await context.newPage();
  const session = await context.newCDPSession(page);
  await session.send('Network.enable');
  await session.send('Network.emulateNetworkConditions', { offline: false, latency: 150, downloadThroughput: 200_000, uploadThroughput: 100_000 });
  await context.addInitScript(() => new MutationObserver((_, observer) => {
    if (!document.querySelector('.message')) return;
    window.firstMessage = performance.now() - performance.getEntriesByType('navigation')[0].requestStart;
    observer.disconnect();
  }).observe(document, { subtree: true, childList: true }));
  await page.goto(`${server.url}/#slow`, { waitUntil: 'commit' });
  await page.locator('.message').first().waitFor();
  return { context, page, time: await page.evaluate(() => window.firstMessage) };
}

test('on a slow line, 1.6 Mbit/s with 150 ms, the first message is there within a second of the first byte asked for', async () => {
  for (let n = 0; n < 30; n += 1) await post(server.url, 'slow', 'bot', `message ${n}`);
  const times = [];
  for (let n = 0; n < 5; n += 1) {
    const { context, time } = await openSlowly('en-GB');
    times.push(time);
    await context.close();
  }
  assert.ok(Math.min(...times) < 1000, times.join());
});

test('on a slow line the words of another language are asked for while the views still load', async () => {
  await post(server.url, 'slow', 'bot', 'hello');
  const { context, page } = await openSlowly('zh-CN');
  const [words, main] = await page.evaluate(() => ['words.zh-Hans.js', 'main.js'].map((name) => performance.getEntriesByType('resource').find((entry) => entry.name.endsWith(name)).toJSON()));
  assert.ok(words.startTime < main.responseEnd, `${words.startTime}, ${main.responseEnd}`);
  await context.close();
});
