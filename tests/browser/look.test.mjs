// What is seen, read out and copied, on every kind of screen.
import test, { after, before } from 'node:test';
import assert from 'node:assert/strict';
import { clean, connected, goTo, openBrowser, person, post, settings, shows, startServer, until, write } from './support.mjs';
import { hueOf } from '../../www/js/text.js';

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

test('a long room name is cut off, so that the side panel keeps its width, and a pointer shows it in whole', async () => {
  const long = 'W'.repeat(64);
  await post(server.url, long, 'bot', 'hello');
  const ada = await person(browser, server.url, 'ada', { room: 'wide' });
  await ada.locator('#other-rooms a', { hasText: 'WWW' }).waitFor();
  assert.ok(await ada.locator('#side .lists').evaluate((node) => node.scrollWidth <= node.clientWidth));
  const titles = { '#other-rooms a:has-text("WWW")': long, '#rooms a': '', '#settings-open': 'Settings', '#send': 'Send' };
  for (const [selector, title] of Object.entries(titles)) {
    await ada.locator(selector).hover();
    assert.equal(await ada.locator(selector).evaluate((node) => node.title), title, selector);
  }
  // Of more rooms than are in sight, the one that is open is.
  await ada.evaluate(() => {
    localStorage['chatroom / followed'] = JSON.stringify(Object.fromEntries(Array.from({ length: 30 }, (_, n) => [`a-${n}`, { read: '1-0' }])));
    window.onpagehide = null;
  });
  await ada.reload();
  await connected(ada);
  await until(ada, () => document.querySelectorAll('#rooms a').length, 31);
  const inSight = () => {
    const [room, list] = ['[aria-current]', '#side .lists'].map((selector) => document.querySelector(selector).getBoundingClientRect());
    return room.top >= list.top && room.bottom <= list.bottom;
  };
  await until(ada, inSight, true);
  await goTo(ada, 'a-1');
  await until(ada, inSight, true);
  await clean(ada);
});

test('with 60 people one\'s own name and buttons stay in sight', async () => {
  const ada = await person(browser, server.url, 'ada', { room: 'crowd' });
  const members = Array.from({ length: 60 }, (_, n) => `person ${n}`);
  const greeting = { eventId: '1-0', room: 'crowd', name: 'ada', author: '0', members: ['ada', ...members], memberCount: 61, listenerCount: 0, heartbeatSeconds: 15 };
  await ada.route(/\/chat\?/, (route) => route.fulfill({ headers: { 'Content-Type': 'text/event-stream' }, body: `event: chat-room-connected\ndata: ${JSON.stringify(greeting)}\n\n` }));
  await ada.reload();
  await ada.locator('.person', { hasText: 'person 59' }).waitFor({ state: 'attached' });
  await ada.locator('#settings-open').focus();
  for (const [key, name] of [['Tab', 'ada'], ['ArrowDown', 'person 0'], ['ArrowDown', 'person 1'], ['ArrowUp', 'person 0']]) {
    await ada.keyboard.press(key);
    assert.equal(await ada.evaluate(() => document.activeElement.textContent), name);
  }
  await ada.keyboard.press('Enter');
  assert.equal(await ada.locator('#text').inputValue(), '@person 0 ');
  await settings(ada);
  for (const id of ['own-name', 'settings-open', 'rename', 'notify', 'language']) {
    const box = await ada.locator(`#${id}`).boundingBox();
    assert.ok(box.y > 0 && box.y + box.height <= 720, id);
  }
  await clean(ada);
});

test('in forced colours bubbles, the status, the jump button and the current room have edges that are seen', async () => {
  const ada = await person(browser, server.url, 'ada', { room: 'forced', forcedColors: 'active' });
  await write(ada, 'own');
  await shows(ada, ['own']);
  await post(server.url, 'forced', 'bot', 'other, ada');
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
    const [mention, plain] = ['.mention .bubble', '.message:not(.mention) .bubble'].map((selector) => parseFloat(getComputedStyle(document.querySelector(selector)).borderTopWidth));
    const wider = mention > plain;
    const dot = getComputedStyle(document.querySelector('.dot')).backgroundColor;
    const others = ['#other-rooms a', '#other-rooms li'].map((selector) => edge(selector) || edge(selector, 'outline'));
    return [edge('.bubble'), edge('#jump'), edge('.rooms li:has([aria-current])', 'outline'), wider, ...others, dot !== getComputedStyle(document.querySelector('#bar')).backgroundColor];
  });
  assert.deepEqual(seen, [true, true, true, true, false, false, true]);
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
  await write(ada, '```\nshort\n```');
  await ada.locator('#log pre >> nth=1').waitFor();
  assert.equal(await ada.locator('#log pre').nth(1).evaluate((node) => node.tabIndex), -1, 'what need not be scrolled is no stop of the Tab key');
  await clean(ada);
});

test('a folded message opens when the keyboard comes to a link in it', async () => {
  const ada = await person(browser, server.url, 'ada', { room: 'hidden-link' });
  await post(server.url, 'hidden-link', 'bot', `${'line\n'.repeat(40)}https://a.example/`);
  await ada.locator('.fold').waitFor();
  await ada.locator('#scroller').focus();
  for (let n = 0; n < 5 && (await ada.evaluate(() => document.activeElement.tagName)) !== 'A'; n += 1) await ada.keyboard.press('Tab');
  assert.equal(await ada.evaluate(() => document.activeElement.tagName), 'A');
  await ada.locator('.folded').waitFor({ state: 'detached' });
  await clean(ada);
});

test('while all is well the number of people is shown, and "Connected" only read out', async () => {
  const ada = await person(browser, server.url, 'ada', { room: 'count', viewport: { width: 1024, height: 640 } });
  const bob = await person(browser, server.url, 'bob', { room: 'count' });
  await ada.locator('#here[aria-label="2 people"]', { hasText: '2' }).waitFor();
  assert.ok((await ada.locator('#status').boundingBox()).width <= 1);
  await ada.context().setOffline(true);
  await ada.locator('#status', { hasText: 'Offline' }).waitFor();
  assert.ok((await ada.locator('#status').boundingBox()).width > 20);
  assert.ok(await ada.locator('#here').isHidden());
  await clean(ada, bob);
});

test('one\'s own colour is the same in the list of people and beside one\'s name, before the first message, and then in every room', async () => {
  const ada = await person(browser, server.url, 'ada', { room: 'hue' });
  const hues = () => ['#people li', '#own'].map((selector) => document.querySelector(selector).style.getPropertyValue('--hue'));
  await until(ada, () => document.querySelectorAll('#people li').length, 1);
  const [listed, own] = await ada.evaluate(hues);
  assert.equal(listed, own);
  await write(ada, 'hello');
  await shows(ada, ['hello']);
  const spoken = await ada.evaluate(hues);
  await goTo(ada, 'another');
  await connected(ada);
  await until(ada, hues, spoken);
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
    assert.doesNotMatch(await ada.locator('time').first().getAttribute('title'), /[\u0660-\u0669]/);
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

/** A page on a slow line when it shows its first message; and how long that took from the first byte asked for. */
async function openSlowly(locale, kilobits, latency) {
  const context = await browser.newContext({ locale });
  const page = await context.newPage();
  const session = await context.newCDPSession(page);
  await session.send('Network.enable');
  await session.send('Network.emulateNetworkConditions', { offline: false, latency, downloadThroughput: kilobits * 125, uploadThroughput: kilobits * 125 });
  await context.addInitScript(() => new MutationObserver((_, observer) => {
    if (!document.querySelector('.message')) return;
    window.firstMessage = performance.now() - performance.getEntriesByType('navigation')[0].requestStart;
    observer.disconnect();
  }).observe(document, { subtree: true, childList: true }));
  await page.goto(`${server.url}/#slow`, { waitUntil: 'commit' });
  await page.locator('.message').first().waitFor();
  return { context, page, time: await page.evaluate(() => window.firstMessage) };
}

for (const [line, kilobits, latency, limit, locale] of [['a slow line', 1600, 150, 1500, 'en-GB'], ['a slow line', 1600, 150, 1500, 'zh-CN'], ['slow 3G', 400, 400, 2500, 'en-GB']]) {
  test(`on ${line}, ${kilobits} kbit/s with ${latency} ms, the first message is there within ${limit} ms of the first byte asked for, in ${locale}`, async (t) => {
    for (let n = 0; n < 30; n += 1) await post(server.url, 'slow', 'bot', `message ${n}`);
    const times = [];
    // The machine may be busy with something else: the best of some tries counts.
    while (times.length < 8 && !(times.at(-1) < limit)) {
      const { context, time } = await openSlowly(locale, kilobits, latency);
      times.push(time);
      await context.close();
    }
    t.diagnostic(`${times.map(Math.round).join(', ')} ms`);
    assert.ok(times.at(-1) < limit, times.join());
  });
}

test('a message of more than twenty lines is folded, and shown in whole where it stands when asked', async () => {
  const ada = await person(browser, server.url, 'ada', { room: 'folded' });
  const long = Array.from({ length: 100 }, (_, n) => `line ${n}`).join('\n');
  await post(server.url, 'folded', 'bot', long);
  await post(server.url, 'folded', 'bot', long.split('\n').slice(0, 20).join('\n'));
  const first = ada.locator('.message').first();
  const more = first.getByRole('button', { name: 'Show all 100 lines' });
  await more.waitFor();
  assert.equal(await ada.locator('.fold').count(), 1);
  assert.ok((await first.boundingBox()).height < 600);
  await more.scrollIntoViewIfNeeded();
  const { y } = await first.boundingBox();
  await more.click();
  await more.waitFor({ state: 'hidden' });
  assert.ok((await first.boundingBox()).height > 2000);
  assert.ok(Math.abs((await first.boundingBox()).y - y) < 2);
  await goTo(ada, 'elsewhere');
  await goTo(ada, 'folded');
  await ada.locator('.message').nth(1).waitFor();
  assert.equal(await ada.locator('.fold').count(), 0);
  await clean(ada);
});

test('@ offers names, directly after Chinese text too: by arrows and Enter, by Tab, by a tap, and not when a name is whole', async () => {
  const ada = await person(browser, server.url, 'ada', { room: 'offered' });
  for (const name of ['n1', 'n2', 'n3', 'n4', 'n5', 'n6', 'Anna Lee', 'bob']) await post(server.url, 'offered', name, 'hello');
  await ada.locator('.message').nth(7).waitFor();
  const text = ada.locator('#text');
  const offered = () => [...document.querySelectorAll('#names li')].map((node) => node.textContent);
  const chosen = () => document.getElementById(document.getElementById('text').getAttribute('aria-activedescendant'))?.textContent;
  await text.pressSequentially('你好@');
  await until(ada, offered, ['bob', 'Anna Lee', 'n6', 'n5', 'n4', 'n3']);
  await ada.keyboard.press('ArrowDown');
  await until(ada, chosen, 'Anna Lee');
  await ada.keyboard.press('ArrowUp');
  await ada.keyboard.press('ArrowUp');
  await until(ada, chosen, 'n3');
  await ada.keyboard.press('Enter');
  assert.equal(await text.inputValue(), '你好@n3 ');
  await text.pressSequentially('and @anna l');
  await until(ada, offered, ['Anna Lee']);
  await ada.keyboard.press('Tab');
  assert.equal(await text.inputValue(), '你好@n3 and @Anna Lee ');
  await text.pressSequentially('@b');
  await ada.locator('#names li', { hasText: 'bob' }).click();
  assert.equal(await text.inputValue(), '你好@n3 and @Anna Lee @bob ');
  assert.equal(await ada.evaluate(() => document.activeElement.id), 'text');
  await text.pressSequentially('@n');
  await ada.keyboard.press('Escape');
  assert.ok(await ada.locator('#names').isHidden());
  await text.fill('');
  await text.pressSequentially('mail@bo or @bob');
  assert.ok(await ada.locator('#names').isHidden());
  await ada.keyboard.press('Enter');
  await shows(ada, [...Array(8).fill('hello'), 'mail@bo or @bob']);
  await clean(ada);
});

for (const [width, height, columns] of [[1280, 800, 3], [1024, 640, 2], [390, 844, 1], [320, 568, 1]]) {
  test(`in ${width} × ${height} there are ${columns} columns, and what was not in sight opens over the conversation`, async () => {
    const ada = await person(browser, server.url, 'ada', { room: `columns-${width}`, viewport: { width, height } });
    const seen = async () => [await ada.locator('#rooms').isVisible(), await ada.locator('#people').isVisible()];
    assert.deepEqual(await seen(), [columns > 1, columns > 2]);
    for (const [opener, panel, at] of [['#menu', '#side', 3], ['#here', '#crowd', 2]]) {
      if (columns > 1 && (panel === '#side' || columns > 2)) {
        assert.ok(await ada.locator(opener).isHidden());
        continue;
      }
      await ada.locator(opener).click();
      const box = await ada.locator(panel).boundingBox();
      assert.ok(box.width <= width * 0.86 && at);
      assert.equal(await ada.locator(opener).getAttribute('aria-expanded'), 'true');
      await ada.locator(`${panel} .close`).click();
      assert.ok(await ada.locator(panel).isHidden());
      assert.equal(await ada.evaluate(() => document.activeElement.id), opener.slice(1));
    }
    assert.equal(await ada.evaluate(() => document.documentElement.scrollWidth), width);
    await clean(ada);
  });
}

test('with text of 200 % on a phone no panel is wider than the screen, and nothing is cut off', async () => {
  const ada = await person(browser, server.url, 'ada', { room: 'large', viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true });
  const session = await ada.context().newCDPSession(ada);
  await session.send('Page.setFontSizes', { fontSizes: { standard: 32 } });
  await ada.reload();
  await connected(ada);
  await until(ada, () => getComputedStyle(document.body).fontSize, '32px');
  await write(ada, 'hello');
  assert.equal(await ada.evaluate(() => document.documentElement.scrollWidth), 390);
  for (const [opener, panel] of [['#menu', '#side'], ['#here', '#crowd']]) {
    await ada.locator(opener).tap();
    const box = await ada.locator(panel).boundingBox();
    assert.ok(box.x >= 0 && box.x + box.width <= 390 && box.width <= 340, JSON.stringify(box));
    await ada.locator(`${panel} .close`).tap();
  }
  await settings(ada);
  assert.equal((await ada.locator('#settings').boundingBox()).width, 390);
  await clean(ada);
});

test('with 24 rooms and 20 people all that one needs is in sight', async () => {
  for (let n = 0; n < 24; n += 1) await post(server.url, `needed-${n}`, 'bot', 'hello');
  const ada = await person(browser, server.url, 'ada', { room: 'needed', viewport: { width: 1280, height: 800 } });
  const members = ['ada', ...Array.from({ length: 19 }, (_, n) => `person ${n}`)];
  const greeting = { eventId: '1-0', room: 'needed', name: 'ada', author: '0', members, memberCount: 20, listenerCount: 0, heartbeatSeconds: 15 };
  await ada.route(/\/chat\?/, (route) => route.fulfill({ headers: { 'Content-Type': 'text/event-stream' }, body: `event: chat-room-connected\ndata: ${JSON.stringify(greeting)}\n\n` }));
  await ada.reload();
  await ada.locator('.person', { hasText: 'person 18' }).waitFor();
  for (const id of ['own-name', 'settings-open', 'room-input', 'member-count', 'invite', 'text']) {
    const box = await ada.locator(`#${id}`).boundingBox();
    assert.ok(box.y > 0 && box.y + box.height <= 800, id);
  }
  await clean(ada);
});

test('messages and composer stand in one column, and a short conversation just above the composer', async () => {
  const ada = await person(browser, server.url, 'ada', { room: 'column' });
  await ada.locator('#welcome', { hasText: 'Welcome to #column' }).waitFor();
  await write(ada, 'hello');
  await shows(ada, ['hello']);
  const edges = () => ['.message.own .bubble', '#field'].map((selector) => Math.round(document.querySelector(selector).getBoundingClientRect().right));
  for (const width of [1280, 1024, 600]) {
    await ada.setViewportSize({ width, height: 720 });
    const [bubble, field] = await ada.evaluate(edges);
    assert.equal(bubble, field, `${width}`);
  }
  const [message, field] = [await ada.locator('.message').boundingBox(), await ada.locator('#field').boundingBox()];
  assert.ok(field.y - message.y - message.height < 40);
  await clean(ada);
});

test('End in the log leads to the newest, and PageUp and PageDown in the composer scroll the log', async () => {
  for (let n = 0; n < 45; n += 1) await post(server.url, 'pages', 'bot', `m${n}`);
  const ada = await person(browser, server.url, 'ada', { room: 'pages' });
  const top = () => document.getElementById('scroller').scrollTop;
  await ada.locator('#log .text', { hasText: 'm44' }).waitFor();
  await ada.locator('#text').press('PageUp');
  await ada.locator('#jump').waitFor();
  const above = await ada.evaluate(top);
  assert.equal(await ada.evaluate(() => document.activeElement.id), 'text');
  await ada.locator('#text').press('PageUp');
  const higher = await ada.evaluate(top);
  assert.ok(higher < above, `${higher} ${above}`);
  await ada.locator('#text').press('PageDown');
  assert.ok(await ada.evaluate(top) > higher);
  await ada.locator('#text').press('PageUp');
  await ada.locator('#scroller').press('End');
  await ada.locator('#jump').waitFor({ state: 'hidden' });
  await until(ada, () => { const { scrollTop, scrollHeight, clientHeight } = document.getElementById('scroller'); return scrollHeight - scrollTop - clientHeight < 2; }, true);
  await clean(ada);
});

test('printed, the page is the conversation, in whole, without panels', async () => {
  const ada = await person(browser, server.url, 'ada', { room: 'printed' });
  for (let n = 0; n < 40; n += 1) await post(server.url, 'printed', 'bot', `m${n}`);
  await post(server.url, 'printed', 'bot', 'a line\n'.repeat(30));
  await ada.locator('.fold').waitFor();
  await ada.emulateMedia({ media: 'print' });
  for (const selector of ['#side', '#crowd', '#composer', '.fold', '#jump', '.more >> nth=0']) assert.ok(await ada.locator(selector).isHidden(), selector);
  const [page, log, folded] = await ada.evaluate(() => [document.documentElement.scrollHeight, document.getElementById('log').offsetHeight, document.querySelector('.folded').offsetHeight]);
  assert.ok(page >= log && log > 1500 && folded > 600, `${page} ${log} ${folded}`);
  await clean(ada);
});

test('up to three emoji alone are larger; a list hangs; www. is followed with https', async () => {
  const ada = await person(browser, server.url, 'ada', { room: 'shapes' });
  await write(ada, '👍👩‍👩‍👧', '👍 yes', `- ${'word '.repeat(60)}`, 'see www.a.example.');
  await ada.locator('.message').nth(3).waitFor();
  const sizes = await ada.evaluate(() => [...document.querySelectorAll('.text')].slice(0, 2).map((node) => parseFloat(getComputedStyle(node).fontSize)));
  assert.ok(sizes[0] >= 2 * sizes[1], sizes.join());
  const [marker, ...lines] = await ada.evaluate(() => {
    const bullet = document.querySelector('.bullet');
    const words = document.createRange();
    words.selectNodeContents(bullet.lastChild);
    return [bullet.firstChild, words].flatMap((what) => [...what.getClientRects()].filter(({ width }) => width > 20).map(({ left }) => Math.round(left)));
  });
  assert.ok(lines.length > 1 && lines.every((left) => left === lines[0] && left > marker + 10), [marker, ...lines].join());
  assert.equal(await ada.locator('.text a').getAttribute('href'), 'https://www.a.example');
  await clean(ada);
});

test('colours are the same for all who see a room, and neighbours who share a hue differ in tone', async () => {
  const ada = await person(browser, server.url, 'ada', { room: 'hues' });
  const bob = await person(browser, server.url, 'bob', { room: 'hues' });
  const looks = () => [...document.querySelectorAll('#people li')].map((node) => [node.textContent, getComputedStyle(node.firstChild).backgroundColor]);
  await until(bob, () => document.querySelectorAll('#people li').length, 2);
  await until(ada, looks, await bob.evaluate(looks));
  await write(ada, 'hello');
  await write(bob, 'hello');
  for (const page of [ada, bob]) await until(page, () => document.querySelectorAll('#log .message').length, 2);
  await until(ada, looks, await bob.evaluate(looks));
  const alike = Array.from({ length: 100 }, (_, n) => `person ${n}`).filter((name) => hueOf(name) === 0).slice(0, 5);
  for (const name of alike) await post(server.url, 'hues', name, 'hello');
  await until(ada, () => document.querySelectorAll('#log .message').length, 7);
  const [tones, hues] = await ada.evaluate(() => {
    const shown = [...document.querySelectorAll('.message:not(.own)')].slice(-5);
    return [shown.map((node) => getComputedStyle(node.firstChild).backgroundColor), shown.map((node) => node.style.getPropertyValue('--hue'))];
  });
  assert.equal(hues.filter((hue, n) => hue === hues[n + 1]).length, 4);
  assert.ok(tones.every((tone, n) => tone !== tones[n + 1]));
  await clean(ada, bob);
});
