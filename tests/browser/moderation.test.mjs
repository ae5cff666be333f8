// Who wrote it, and who may remove it.
import test, { after, before } from 'node:test';
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { clean, connected, goTo, openBrowser, person, post, scratch, settings, shows, startServer, until, violations, write } from './support.mjs';

let browser;
let server;
let folder;
before(async () => {
  browser = await openBrowser();
  folder = scratch();
  await writeFile(`${folder}/password`, 'open sesame\n');
  server = await startServer(['--message-rate', '0', '--moderator-password-file', `${folder}/password`]);
});
after(async () => {
  await browser.close();
  await server.stop();
});

const openMenu = async (page, text) => {
  const message = page.locator('.message', { hasText: text }).last();
  await message.hover();
  await message.getByRole('button', { name: 'Message actions' }).click();
  await page.locator('#menu-of-message').waitFor();
};
const items = () => [...document.querySelectorAll('#menu-of-message [role=menuitem]')].map((node) => node.textContent);
const rows = () => [...document.querySelectorAll('#log .text, #log .removed')].map((node) => node.textContent);

async function moderator(room, name = 'mod') {
  const page = await person(browser, server.url, name, { room });
  await settings(page);
  await page.getByRole('button', { name: 'Log in as moderator' }).click();
  await page.getByLabel('Moderator password').fill('open sesame');
  await page.getByRole('button', { name: 'Log in', exact: true }).click();
  await page.locator('#moderator').waitFor({ state: 'attached' });
  await settings(page);
  await page.locator('#moderator').waitFor();
  return page;
}

test('the menu: reply, copy, and one\'s own messages can be removed, after a question', async () => {
  const ada = await person(browser, server.url, 'ada', { room: 'menu', permissions: ['clipboard-read', 'clipboard-write'] });
  const bob = await person(browser, server.url, 'bob', { room: 'menu' });
  await write(bob, 'from bob');
  await write(ada, 'my password is 123');
  await shows(bob, ['from bob', 'my password is 123']);
  await ada.locator('#text').fill('inde');
  await ada.locator('#text').selectText();
  await openMenu(ada, 'from bob');
  assert.deepEqual(await ada.evaluate(items), ['Reply', 'Copy text']);
  await ada.keyboard.press('Enter');
  assert.equal(await ada.locator('#text').inputValue(), '> bob: from bob\ninde');
  await ada.keyboard.type('ed');
  await ada.keyboard.press('Enter');
  await bob.locator('.message.mention blockquote', { hasText: 'bob: from bob' }).waitFor();
  await openMenu(ada, 'my password');
  assert.deepEqual(await ada.evaluate(items), ['Reply', 'Copy text', 'Remove…']);
  await ada.getByRole('menuitem', { name: 'Copy text' }).click();
  assert.equal(await ada.evaluate(() => navigator.clipboard.readText()), 'my password is 123');
  await openMenu(ada, 'my password');
  await ada.getByRole('menuitem', { name: 'Remove…' }).click();
  await ada.getByText('cannot be undone').waitFor();
  await ada.getByRole('button', { name: 'Cancel' }).click();
  await openMenu(ada, 'my password');
  await ada.getByRole('menuitem', { name: 'Remove…' }).click();
  await ada.getByRole('button', { name: 'Remove', exact: true }).click();
  for (const page of [ada, bob]) await until(page, rows, ['from bob', 'A message was removed.', 'bob: from bobindeed']);
  await bob.reload();
  await bob.locator('#log .text', { hasText: 'indeed' }).waitFor();
  assert.doesNotMatch((await bob.evaluate(rows)).join(), /password/);
  await clean(ada, bob);
});

test('the menu by keyboard: Enter in the log, up and down, Escape leads back', async () => {
  const ada = await person(browser, server.url, 'ada', { room: 'menu-keys' });
  for (const text of ['one', 'two', 'three']) await post(server.url, 'menu-keys', 'bot', text);
  await ada.locator('.message').nth(2).waitFor();
  await ada.locator('#text').focus();
  await ada.keyboard.press('Shift+Tab');
  await ada.locator('#log-help').waitFor();
  await ada.keyboard.press('Enter');
  await ada.keyboard.press('ArrowUp');
  assert.equal(await ada.evaluate(() => document.activeElement.closest('.message').querySelector('.text').textContent), 'two');
  await ada.keyboard.press('Enter');
  await ada.locator('#menu-of-message').waitFor();
  await ada.keyboard.press('ArrowDown');
  assert.equal(await ada.evaluate(() => document.activeElement.textContent), 'Copy text');
  await ada.keyboard.press('Escape');
  await ada.locator('#menu-of-message').waitFor({ state: 'hidden' });
  assert.ok(await ada.evaluate(() => document.activeElement.matches('.more')));
  await ada.keyboard.press('Escape');
  assert.equal(await ada.evaluate(() => document.activeElement.id), 'scroller');
  await clean(ada);
});

test('the keyboard is never left nowhere: after a removal it is in the log, after logging in and out where it was', async () => {
  const ada = await person(browser, server.url, 'ada', { room: 'focus' });
  await write(ada, 'one');
  await shows(ada, ['one']);
  const active = () => document.activeElement.id;
  await openMenu(ada, 'one');
  await ada.getByRole('menuitem', { name: 'Remove…' }).press('Enter');
  await ada.getByRole('button', { name: 'Remove', exact: true }).press('Enter');
  await until(ada, rows, ['A message was removed.']);
  await until(ada, active, 'scroller');
  await settings(ada);
  await ada.getByRole('button', { name: 'Log in as moderator' }).press('Enter');
  await ada.getByLabel('Moderator password').fill('open sesame');
  await ada.keyboard.press('Enter');
  await until(ada, active, 'settings-open');
  await ada.keyboard.press('Enter');
  await ada.locator('#moderator').waitFor();
  await ada.locator('#moderate').press('Enter');
  await ada.locator('#moderator').waitFor({ state: 'hidden' });
  assert.equal(await ada.evaluate(active), 'moderate');
  await clean(ada);
});

test('the menu comes with the page: it opens where the network is cut from then on', async () => {
  const ada = await person(browser, server.url, 'ada', { room: 'menu-late' });
  await post(server.url, 'menu-late', 'bot', 'hello');
  await ada.reload();
  await shows(ada, ['hello']);
  await ada.route('**', (route) => route.abort());
  await openMenu(ada, 'hello');
  assert.deepEqual(await ada.evaluate(items), ['Reply', 'Copy text']);
  await clean(ada);
});

test('by touch the menu is a sheet from below, after a tap on the message or a finger that rests on it; no button takes room', async () => {
  const ada = await person(browser, server.url, 'ada', { room: 'menu-touch', viewport: { width: 390, height: 780 }, hasTouch: true, isMobile: true });
  await post(server.url, 'menu-touch', 'bot', 'a long message '.repeat(20));
  await post(server.url, 'menu-touch', 'bot', 'see https://a.example');
  const bubble = ada.locator('.message .bubble').first();
  const box = await bubble.boundingBox();
  assert.ok(box.x > 40 && box.x + box.width >= 370, JSON.stringify(box));
  await bubble.tap();
  const menu = ada.locator('#menu-of-message');
  await menu.waitFor();
  const sheet = await menu.boundingBox();
  assert.deepEqual([sheet.x, sheet.width, sheet.y + sheet.height], [0, 390, 780]);
  assert.ok((await ada.getByRole('menuitem').first().boundingBox()).height >= 44);
  await ada.touchscreen.tap(200, 100);
  await menu.waitFor({ state: 'hidden' });
  // What Android tells of a finger that rests; Chromium without a screen does not.
  assert.equal(await bubble.evaluate((node) => node.dispatchEvent(new MouseEvent('contextmenu', { bubbles: true, cancelable: true }))), false);
  assert.ok(await menu.isHidden());
  await bubble.dispatchEvent('touchend');
  await menu.waitFor();
  await ada.getByRole('menuitem', { name: 'Reply' }).tap();
  assert.match(await ada.locator('#text').inputValue(), /^> bot: a long message/);
  // A link is followed, and brings no menu.
  await ada.context().route('https://a.example/**', (route) => route.fulfill({ body: '' }));
  const [page] = await Promise.all([ada.context().waitForEvent('page'), ada.locator('.message a').tap()]);
  await page.close();
  assert.ok(await menu.isHidden());
  await clean(ada);
});

test('by keyboard a message is told by its name and text, and Tab leaves its menu and closes it', async () => {
  const ada = await person(browser, server.url, 'ada', { room: 'menu-told' });
  for (const text of ['one', 'two '.repeat(100)]) await post(server.url, 'menu-told', 'bot', text);
  await ada.locator('.message').nth(1).waitFor();
  const label = () => document.activeElement.ariaLabel;
  await ada.locator('#scroller').press('Enter');
  assert.equal(await ada.evaluate(label), `bot: ${'two '.repeat(20)}, Message actions`);
  await ada.keyboard.press('ArrowUp');
  assert.equal(await ada.evaluate(label), 'bot: one, Message actions');
  await ada.keyboard.press('Enter');
  await ada.getByRole('menuitem', { name: 'Reply' }).waitFor();
  await ada.keyboard.press('Tab');
  assert.ok(await ada.locator('#menu-of-message').isHidden());
  assert.ok(await ada.evaluate(() => !document.activeElement.matches('body, .more')));
  await clean(ada);
});

test('nothing of moderation is offered where the server has none', async () => {
  const plain = await startServer();
  const ada = await person(browser, plain.url, 'ada');
  await post(plain.url, 'lobby', 'bot', 'hello');
  await openMenu(ada, 'hello');
  assert.deepEqual(await ada.evaluate(items), ['Reply', 'Copy text']);
  assert.ok(await ada.locator('#moderation').isHidden());
  await clean(ada);
  await plain.stop();
});

test('a wrong password is said in words; a moderator removes what others wrote, and stops being one', async () => {
  const ada = await person(browser, server.url, 'ada', { room: 'remove' });
  await post(server.url, 'remove', 'bot', 'buy now');
  await settings(ada);
  await ada.getByRole('button', { name: 'Log in as moderator' }).click();
  await ada.getByLabel('Moderator password').fill('wrong');
  await ada.keyboard.press('Enter');
  await ada.locator('dialog .problem', { hasText: 'not the moderator password' }).waitFor();
  await ada.getByLabel('Moderator password').fill('open sesame');
  await ada.keyboard.press('Enter');
  await settings(ada);
  await ada.locator('#moderator').waitFor();
  await openMenu(ada, 'buy now');
  assert.deepEqual(await ada.evaluate(items), ['Reply', 'Copy text', 'Remove…'], 'a message without an author has nobody to ban');
  await ada.getByRole('menuitem', { name: 'Remove…' }).click();
  await ada.getByRole('button', { name: 'Remove', exact: true }).click();
  await until(ada, rows, ['A message was removed.']);
  await ada.reload();
  await settings(ada);
  await ada.locator('#moderator').waitFor();
  await ada.getByRole('button', { name: 'Stop moderating' }).click();
  await ada.getByRole('button', { name: 'Log in as moderator' }).waitFor();
  await clean(ada);
});

test('a ban: who is banned reads until when and goes on reading; the messages go; the ban can be lifted', async () => {
  const mod = await moderator('ban');
  const eve = await person(browser, server.url, 'eve', { room: 'ban' });
  await write(eve, 'spam 1', 'spam 2', 'spam 3');
  await mod.locator('.message', { hasText: 'spam 3' }).waitFor();
  await openMenu(mod, 'spam 3');
  await mod.getByRole('menuitem', { name: 'Ban author…' }).click();
  await mod.getByText('can only read, in all rooms, until the ban ends').waitFor();
  assert.deepEqual(await violations(mod), []);
  await mod.setViewportSize({ width: 320, height: 568 });
  assert.ok(await mod.locator('dialog').evaluate((node) => node.scrollWidth <= node.clientWidth));
  const gaps = await mod.locator('dialog label').evaluateAll((labels) => labels.map((label) => {
    const range = document.createRange();
    const [words, field] = [[...label.childNodes].find(({ nodeType }) => nodeType === 3), label.querySelector('input, select')];
    range.selectNode(words);
    const [a, b] = [range, field].map((node) => node.getBoundingClientRect());
    return Math.round(Math.max(a.left - b.right, b.left - a.right));
  }));
  assert.deepEqual(gaps, [8, 8, 8], 'each field stands beside its words');
  await mod.setViewportSize({ width: 1280, height: 720 });
  await mod.getByLabel('Duration').selectOption('60');
  await mod.getByLabel('Ban the network address too').uncheck();
  await mod.getByLabel('Remove all messages of this author').check();
  await mod.getByRole('button', { name: 'Ban', exact: true }).click();
  await until(mod, rows, ['3 messages were removed.']);
  await eve.locator('#name-help.problem', { hasText: /banned you until .*\d/ }).waitFor({ timeout: 40_000 });
  await connected(eve);
  await write(mod, 'that is better');
  await eve.locator('.message', { hasText: 'that is better' }).waitFor();
  await settings(mod);
  await mod.getByRole('button', { name: 'Bans', exact: true }).click();
  await mod.locator('dialog li', { hasText: 'eve' }).waitFor();
  assert.deepEqual(await violations(mod), []);
  await mod.getByRole('button', { name: 'Lift' }).click();
  await mod.getByText('Nobody is banned.').waitFor();
  await eve.locator('#name').press('Enter');
  await eve.locator('#own-name', { hasText: 'eve' }).waitFor();
  await connected(eve);
  await write(eve, 'sorry');
  await mod.locator('.message', { hasText: 'sorry' }).waitFor();
  await clean(mod, eve);
});

test('one\'s own messages are told by who wrote them: not by the name, and under each name that one had', async () => {
  const first = await person(browser, server.url, 'ada', { room: 'authors' });
  await write(first, 'by the first ada');
  await shows(first, ['by the first ada']);
  await (await settings(first)).locator('#rename').click();
  await first.locator('#name').fill('Grace');
  await first.locator('#name').press('Enter');
  await connected(first);
  assert.equal(await first.locator('.message.own', { hasText: 'by the first ada' }).count(), 1);
  await until(first, () => [...document.querySelectorAll('.person')].map((node) => node.textContent), ['Grace'], 30_000);
  const second = await person(browser, server.url, '', { room: 'authors' });
  // The first one's name stays reserved for a while after it was given up.
  await second.locator('#name').fill('ada');
  for (;;) {
    await second.locator('#name').press('Enter');
    await connected(second);
    if (await second.locator('#own-name', { hasText: 'ada' }).isVisible()) break;
    await until(second, () => document.getElementById('name-help').classList.contains('problem'), true);
    await goTo(second, 'authors');
  }
  await write(second, 'by the second ada');
  await shows(second, ['by the first ada', 'by the second ada']);
  assert.equal(await second.locator('.message.own').count(), 1);
  const hues = await second.locator('.message').evaluateAll((nodes) => nodes.map((node) => node.style.getPropertyValue('--hue')));
  assert.notEqual(hues[0], hues[1]);
  await first.locator('.message', { hasText: 'by the second ada' }).locator('.tag', { hasText: 'new device or another person' }).waitFor();
  await clean(first, second);
});

test('who removed first may still ban: a removed line keeps its menu, and the dialog says of the address what the interface does', async () => {
  const mod = await moderator('after');
  const eve = await person(browser, server.url, 'eve', { room: 'after' });
  await write(eve, 'spam');
  await mod.locator('.message', { hasText: 'spam' }).waitFor();
  await openMenu(mod, 'spam');
  await mod.getByRole('menuitem', { name: 'Remove…' }).click();
  await mod.getByRole('button', { name: 'Remove', exact: true }).click();
  await mod.locator('.removed').hover();
  await mod.locator('.removed .more').click();
  assert.deepEqual(await mod.evaluate(items), ['Ban author…']);
  await mod.getByRole('menuitem', { name: 'Ban author…' }).click();
  assert.ok(await mod.getByLabel('Ban the network address too').isChecked());
  await mod.getByLabel('Ban the network address too').uncheck();
  await mod.getByRole('button', { name: 'Ban', exact: true }).click();
  await mod.getByText('eve is banned.').waitFor();
  await eve.locator('#name-help.problem', { hasText: 'banned you' }).waitFor({ timeout: 40_000 });
  assert.equal(await eve.locator('.removed .more:visible').count(), 0);
  await clean(mod, eve);
});

test('somebody who never spoke may be banned from the list of people, and not whoever has the name when it is confirmed', async () => {
  const mod = await moderator('silent');
  const eve = await person(browser, server.url, 'mallory', { room: 'silent' });
  const row = mod.locator('#people li', { hasText: 'mallory' });
  await row.waitFor();
  assert.equal(await mod.locator('#people li', { hasText: 'mod' }).locator('.more:visible').count(), 0, 'oneself');
  assert.equal(await eve.locator('#people .more:visible').count(), 0, 'who is no moderator');
  await row.hover();
  await row.locator('.more').click();
  await mod.getByRole('menuitem', { name: 'Ban author…' }).click();
  await mod.getByLabel('Ban the network address too').uncheck();
  await mod.route('**/members', (route) => route.fulfill({ json: { members: ['mallory'], authors: ['somebody-else'] } }));
  await mod.getByRole('button', { name: 'Ban', exact: true }).click();
  await eve.locator('#name-help.problem', { hasText: 'banned you' }).waitFor({ timeout: 40_000 });
  await row.waitFor({ state: 'detached' });
  await clean(mod, eve);
});

test('the keyboard is in the log, too, when the message goes before the dialog that asked for it', async () => {
  const ada = await person(browser, server.url, 'ada', { room: 'late-answer' });
  await write(ada, 'one');
  await shows(ada, ['one']);
  await ada.route('**/messages/*', async (route) => {
    const answer = await route.fetch();
    await ada.locator('.removed').waitFor();
    await route.fulfill({ response: answer });
  });
  await openMenu(ada, 'one');
  await ada.getByRole('menuitem', { name: 'Remove…' }).press('Enter');
  await ada.getByRole('button', { name: 'Remove', exact: true }).press('Enter');
  await until(ada, () => document.activeElement.id, 'scroller');
  await clean(ada);
});
