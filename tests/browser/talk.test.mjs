// What people do in a room when nothing goes wrong.
import test, { after, before } from 'node:test';
import assert from 'node:assert/strict';
import { setTimeout as pause } from 'node:timers/promises';
import { clean, connected, hide, openBrowser, openTab, people, person, post, settings, shows, startServer, until, withVisibility, write } from './support.mjs';

let browser;
let server;
before(async () => {
  browser = await openBrowser();
  // Fifty posts at a time come on connections of their own, which end a little later.
  server = await startServer(['--message-rate', '0', '--history', '3000', '--history-bytes', '4000000', '--max-streams-per-ip', '0']);
});
after(async () => {
  await browser.close();
  await server.stop();
});

test('two people talk and see one order', async () => {
  const ada = await person(browser, server.url, 'ada', { room: 'talk' });
  const bob = await person(browser, server.url, 'bob', { room: 'talk' });
  await write(ada, 'hello');
  await shows(bob, ['hello']);
  await write(bob, 'hi ada', 'line one\nline two');
  for (const page of [ada, bob]) await shows(page, ['hello', 'hi ada', 'line one\nline two']);
  await ada.locator('.message.mention', { hasText: 'hi ada' }).waitFor();
  assert.equal(await ada.locator('.message.own').count(), 1);
  assert.equal(await bob.locator('.message.head').count(), 2);
  assert.match(await bob.locator('.message time').first().getAttribute('title'), /\d{4}/);
  await clean(ada, bob);
});

test('Shift+Enter breaks the line, an Enter that belongs to an input method does not send, an empty text neither', async () => {
  const ada = await person(browser, server.url, 'ada', { room: 'enter' });
  const text = ada.locator('#text');
  await text.press('Enter');
  await text.pressSequentially('one');
  const height = await text.evaluate((node) => node.offsetHeight);
  await text.press('Shift+Enter');
  await text.pressSequentially('two');
  assert.ok(await text.evaluate((node) => node.offsetHeight) > height);
  await text.evaluate((node) => node.dispatchEvent(new KeyboardEvent('keydown', { key: 'Enter', isComposing: true, bubbles: true, cancelable: true })));
  assert.equal(await text.inputValue(), 'one\ntwo');
  await text.press('Enter');
  await shows(ada, ['one\ntwo']);
  assert.equal(await text.evaluate((node) => node === document.activeElement), true);
  await clean(ada);
});

test('a reload keeps the name, the draft and the messages', async () => {
  const ada = await person(browser, server.url, 'ada', { room: 'reload' });
  await write(ada, 'before');
  await shows(ada, ['before']);
  await ada.locator('#text').fill('half a thou');
  await ada.reload();
  await connected(ada);
  await shows(ada, ['before']);
  assert.equal(await ada.locator('#text').inputValue(), 'half a thou');
  assert.equal(await ada.locator('#own-name').textContent(), 'ada');
  await ada.locator('#text').press('Enter');
  await shows(ada, ['before', 'half a thou']);
  await clean(ada);
});

test('the roster is right with two tabs of one person, and after one of them and all of them close', async () => {
  const ada = await person(browser, server.url, 'ada', { room: 'roster' });
  const bob = await person(browser, server.url, 'bob', { room: 'roster' });
  const second = await openTab(ada.context(), server.url, { room: 'roster' });
  for (const page of [ada, bob, second]) await until(page, people, ['ada', 'bob']);
  await ada.close();
  await connected(second);
  await write(second, 'still here');
  await shows(bob, ['still here']);
  await until(bob, people, ['ada', 'bob']);
  await until(second, people, ['ada', 'bob']);
  await clean(second);
  await until(bob, people, ['bob'], 25_000);
  await clean(bob);
});

test('a new name is a leave and a join, and the messages stay', async () => {
  const ada = await person(browser, server.url, 'ada', { room: 'rename' });
  const bob = await person(browser, server.url, 'bob', { room: 'rename' });
  await write(ada, 'as ada');
  await (await settings(ada)).locator('#rename').click();
  await ada.locator('#name').fill('Grace');
  await ada.locator('#name').press('Enter');
  await until(bob, people, ['bob', 'Grace'], 25_000);
  await write(ada, 'as Grace');
  for (const page of [ada, bob]) await shows(page, ['as ada', 'as Grace']);
  assert.deepEqual(await bob.locator('.message .name').allTextContents(), ['ada', 'Grace']);
  await clean(ada, bob);
});

test('rooms: switching by link, a new one by its name, drafts of their own, and nothing mixes', async () => {
  const ada = await person(browser, server.url, 'ada', { room: 'rooms-1' });
  await write(ada, 'in one');
  await shows(ada, ['in one']);
  await ada.locator('#text').fill('draft of one');
  await ada.locator('#room-input').fill('房间 2');
  await ada.locator('#room-input').press('Enter');
  await until(ada, () => document.title, '#房间-2 · chatroom');
  await connected(ada);
  await shows(ada, []);
  assert.equal(await ada.locator('#text').inputValue(), '');
  await write(ada, 'in two');
  await shows(ada, ['in two']);
  await ada.locator('.rooms a', { hasText: 'rooms-1' }).click();
  await shows(ada, ['in one']);
  assert.equal(await ada.locator('#text').inputValue(), 'draft of one');
  assert.equal(await ada.locator('.rooms a[aria-current=page]').textContent(), 'rooms-1');
  await ada.goBack();
  await shows(ada, ['in two']);
  await clean(ada);
});

test('without a name one reads along and is counted', async () => {
  const ada = await person(browser, server.url, 'ada', { room: 'quiet' });
  const reader = await person(browser, server.url, '', { room: 'quiet' });
  await write(ada, 'anyone?');
  await shows(reader, ['anyone?']);
  assert.ok(await reader.locator('#join').isVisible());
  assert.ok(await reader.locator('#composer').isHidden());
  await ada.locator('#listeners', { hasText: /^1 reading$/ }).waitFor();
  await clean(ada, reader);
});

test('2,000 messages: the document stays small, scrolling up reaches the first, new ones do not move the reader', async () => {
  const ada = await person(browser, server.url, 'ada', { room: 'many' });
  for (let n = 1; n <= 2000; n += 50) {
    await Promise.all(Array.from({ length: 50 }, (_, i) => post(server.url, 'many', `bot${i}`, `message ${n + i}`)));
  }
  await ada.locator('#jump').waitFor({ state: 'hidden' });
  const rows = () => document.querySelectorAll('#log > *').length <= 700;
  await until(ada, rows, true);
  await ada.reload();
  await connected(ada);
  const seen = new Set();
  const collect = async () => (await ada.locator('#log .text').allTextContents()).forEach((text) => seen.add(text));
  while (!(await ada.locator('#oldest').isVisible() && /Nothing older/.test(await ada.locator('#oldest').textContent()))) {
    await collect();
    await ada.locator('#scroller').evaluate((node) => { node.scrollTop = 0; });
    await pause(30);
    assert.equal(await ada.evaluate(rows), true);
  }
  await collect();
  assert.equal(seen.size, 2000);

  await ada.locator('#scroller').evaluate((node) => { node.scrollTop = 600; });
  const place = () => Math.round([...document.querySelectorAll('.message')].find((node) => node.textContent.includes('message')).getBoundingClientRect().top);
  const at = await ada.evaluate(place);
  await post(server.url, 'many', 'bot', 'news');
  await ada.locator('#jump', { hasText: '1 new message' }).waitFor();
  assert.equal(await ada.evaluate(place), at);
  await ada.locator('#jump').click();
  await ada.locator('.text', { hasText: 'news' }).waitFor();
  const atEnd = () => { const s = document.getElementById('scroller'); return s.scrollHeight - s.scrollTop - s.clientHeight < 2; };
  await until(ada, atEnd, true);

  // Where more came than is seen at once, the way to the newest leads over the first of them.
  await ada.locator('#scroller').evaluate((node) => { node.scrollTop = 600; });
  await ada.locator('#jump').waitFor();
  await Promise.all(Array.from({ length: 40 }, (_, n) => post(server.url, 'many', `bot${n}`, 'more news')));
  await ada.locator('#jump', { hasText: '40 new messages' }).click();
  const line = () => {
    const [row, frame] = ['.new', '#scroller'].map((selector) => document.querySelector(selector)?.getBoundingClientRect());
    return row && [Math.abs(row.top - frame.top) < 20, document.querySelector('.new + .message .text').textContent];
  };
  await until(ada, line, [true, 'more news']);
  await ada.locator('#jump', { hasText: '40 new messages' }).click();
  await until(ada, atEnd, true);
  await until(ada, () => [document.getElementById('jump').hidden, document.title], [true, '#many · chatroom']);
  await clean(ada);
});

test('hidden, it counts in the title and notifies of mentions, where allowed', async () => {
  const ada = await person(browser, server.url, 'ada', { room: 'hidden', init: withVisibility });
  const bob = await person(browser, server.url, 'bob', { room: 'hidden' });
  await write(bob, 'before');
  await shows(ada, ['before']);
  await (await settings(ada)).locator('#notify').selectOption('mentions');
  await until(ada, () => document.getElementById('notify').value, 'mentions');
  await connected(ada);
  await hide(ada, true);
  await write(bob, 'nothing for you', 'Ada: look');
  await until(ada, () => document.title, '(2) #hidden · chatroom');
  assert.deepEqual(await ada.evaluate(() => window.notified), ['bob · #hidden: Ada: look']);
  await hide(ada, false);
  await until(ada, () => document.title, '#hidden · chatroom');
  await clean(ada, bob);
});
