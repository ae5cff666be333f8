// A room for those who have its link: how it is made, shared, called and left, and where its key stands.
import test, { after, before } from 'node:test';
import assert from 'node:assert/strict';
import { clean, connected, goTo, hide, openBrowser, openTab, person, post, settings, shows, startServer, until, withVisibility, write } from './support.mjs';

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

const roomOf = (page) => decodeURIComponent(new URL(page.url()).hash.slice(1));

/** Makes a private room and returns its whole name. */
async function make(page, label) {
  await page.getByRole('button', { name: 'New private room' }).click();
  await page.getByText('Only people with the link can find this room.').first().waitFor();
  await page.getByLabel('Label').fill(label);
  await page.getByRole('button', { name: 'Create' }).click();
  await page.locator('#dialog').waitFor({ state: 'hidden' });
  await page.waitForURL(/~/);
  await connected(page);
  return roomOf(page);
}

/** All that a person sees or hears of the page. */
const told = () => {
  const heard = [...document.querySelectorAll('*')].flatMap(({ title, ariaLabel, placeholder, alt }) => [title, ariaLabel, placeholder, alt]);
  return [document.title, document.body.textContent, ...heard].filter(Boolean).join('\n');
};

test('two private rooms of one label are told apart by a number', async () => {
  const ada = await person(browser, server.url, 'ada', { room: 'pair' });
  for (let n = 0; n < 2; n += 1) await make(ada, 'twin');
  await until(ada, () => [...document.querySelectorAll('#rooms a')].map((node) => node.textContent), ['pair', 'twin', 'twin 2']);
  assert.equal(await ada.locator('#room-title').textContent(), 'twin 2');
  await clean(ada);
});

test('a private room is made, and found by its link alone', async () => {
  const ada = await person(browser, server.url, 'ada', { room: 'made', permissions: ['clipboard-read', 'clipboard-write'] });
  const room = await make(ada, ' our place ');
  assert.match(room, /^our-place~[0-9a-z]{26}$/);
  await until(ada, () => document.title, '🔒 our-place · chatroom');
  assert.equal(await ada.locator('#room-title').textContent(), 'our-place');
  await ada.getByRole('img', { name: 'Private room' }).waitFor();
  await ada.locator('#oldest', { hasText: 'Only people with the link can find this room.' }).waitFor();
  await ada.locator('#oldest').getByRole('button', { name: 'Copy link' }).click();
  const link = await ada.evaluate(() => navigator.clipboard.readText());
  assert.equal(link, `${server.url}/#${room}`);

  const bob = await person(browser, server.url, 'bob', { room: 'made' });
  assert.doesNotMatch(JSON.stringify(await (await fetch(`${server.url}/rooms`)).json()), /~/);
  await bob.goto(link);
  await bob.locator('#room-title', { hasText: 'our-place' }).waitFor();
  await write(bob, 'here I am');
  await shows(ada, ['here I am']);
  await bob.getByRole('link', { name: 'our-place, Private room' }).waitFor();
  // Nothing leads there that was not followed.
  const cleo = await person(browser, server.url, 'cleo', { room: 'elsewhere' });
  await cleo.locator('#other-rooms a', { hasText: 'made' }).waitFor();
  assert.doesNotMatch(await cleo.evaluate(told), /our-place/);
  await clean(ada, bob, cleo);
});

test('the key is in no title, notification, heading, list, dialog or label; two rooms without a label are two', async () => {
  const ada = await person(browser, server.url, 'ada', { room: 'told', init: withVisibility });
  const rooms = [await make(ada, ''), await make(ada, ''), await make(ada, 'den')];
  assert.equal(new Set(rooms).size, 3);
  await until(ada, () => [...document.querySelectorAll('#rooms a')].map((node) => node.textContent), ['den', 'Private room', 'Private room 2', 'told']);
  const key = /[0-9a-z]{22}/;
  assert.doesNotMatch(await ada.evaluate(told), key);
  await (await settings(ada)).locator('#notify').selectOption('all');
  await goTo(ada, 'told');
  await connected(ada);
  await post(server.url, rooms[2], 'bot', 'in the den');
  await until(ada, () => window.notified, ['bot · 🔒 den: in the den']);
  await ada.getByRole('link', { name: 'den, Private room, 1 unread' }).waitFor();
  await post(server.url, rooms[0], 'bot', 'ada, where?');
  await ada.getByRole('link', { name: 'Private room, 1 unread, 1 mention' }).waitFor();
  assert.equal((await ada.evaluate(() => window.notified)).at(-1), 'bot · 🔒 Private room: ada, where?');
  assert.doesNotMatch(await ada.evaluate(told), key);
  await ada.evaluate(() => window.notifications[0].dispatchEvent(new Event('click')));
  await shows(ada, ['in the den']);
  await hide(ada, true);
  await post(server.url, rooms[2], 'bot', 'again');
  await until(ada, () => document.title, '(2) 🔒 den · chatroom');
  await hide(ada, false);
  await write(ada, 'mine');
  await ada.locator('.message.own').hover();
  await ada.locator('.message.own .more').click();
  await ada.getByRole('menuitem', { name: 'Remove…' }).click();
  await ada.locator('#dialog', { hasText: 'for everyone in 🔒 den' }).waitFor();
  assert.doesNotMatch(await ada.evaluate(told), key);
  await clean(ada);
});

test('a reload, a new tab and the way back keep it', async () => {
  const ada = await person(browser, server.url, 'ada', { room: 'keep' });
  const room = await make(ada, 'kept');
  await write(ada, 'still here');
  await shows(ada, ['still here']);
  await ada.reload();
  await shows(ada, ['still here']);
  await goTo(ada, 'keep');
  await ada.goBack();
  await shows(ada, ['still here']);
  const tab = await openTab(ada.context(), server.url, { room: 'keep' });
  await tab.locator('#rooms a', { hasText: 'kept' }).click();
  await shows(tab, ['still here']);
  assert.equal(roomOf(tab), room);
  await clean(ada);
});

test('who leaves is asked first; then this device has forgotten the room', async () => {
  const ada = await person(browser, server.url, 'ada', { room: 'leave' });
  const room = await make(ada, 'left');
  await write(ada, 'secret');
  await shows(ada, ['secret']);
  await ada.locator('#text').fill('half a secret');
  const leave = async () => {
    await ada.locator('#rooms li', { hasText: 'left' }).hover();
    await ada.getByRole('button', { name: 'Leave 🔒 left' }).click();
    await ada.getByText('Only its link leads back to it.').waitFor();
  };
  await leave();
  await ada.getByRole('button', { name: 'Cancel' }).click();
  assert.equal(roomOf(ada), room);
  await leave();
  await ada.getByRole('button', { name: 'Leave', exact: true }).click();
  await ada.locator('#room-title', { hasText: 'leave' }).waitFor();
  await connected(ada);
  await until(ada, () => [...document.querySelectorAll('#rooms a')].map((node) => node.textContent), ['leave']);
  const key = room.split('~')[1];
  const kept = () => JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.documentElement.outerHTML, location.href]);
  assert.ok(!(await ada.evaluate(kept)).includes(key));
  await ada.goBack();
  await connected(ada);
  assert.ok(!ada.url().includes(key));
  await ada.reload();
  await connected(ada);
  assert.ok(!(await ada.evaluate(kept)).includes(key));
  await ada.goto(`${server.url}/#${room}`);
  await shows(ada, ['secret']);
  await clean(ada);
});

test('a label that cannot be is refused in words, and so is a link that lost a part', async () => {
  const ada = await person(browser, server.url, 'ada', { room: 'odd' });
  await ada.getByRole('button', { name: 'New private room' }).click();
  await ada.getByLabel('Label').fill('a/b');
  await ada.getByRole('button', { name: 'Create' }).click();
  assert.match(await ada.getByLabel('Label').evaluate((node) => node.validationMessage), /at most 64 characters/);
  await ada.getByRole('button', { name: 'Cancel' }).click();
  await ada.evaluate(() => { location.hash = '#den~short'; });
  await ada.locator('#notice-text', { hasText: 'at most 64' }).waitFor();
  await clean(ada);
});
