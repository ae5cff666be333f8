// Writing and naming: what is typed is never hidden, lost or sent too early.
import test, { after, before } from 'node:test';
import assert from 'node:assert/strict';
import { clean, connected, goTo, openBrowser, person, post, settings, shows, startServer, until, write } from './support.mjs';

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

const phone = { viewport: { width: 390, height: 780 }, hasTouch: true, isMobile: true };
const atEnd = () => {
  const node = document.getElementById('scroller');
  return node.scrollHeight - node.scrollTop - node.clientHeight < 2;
};
const value = () => document.getElementById('text').value;
const active = () => document.activeElement.id;

test('a draft of many lines does not hide the newest messages, nor those that come meanwhile', async () => {
  for (let n = 0; n < 40; n += 1) await post(server.url, 'draft', 'bot', `m${n}`);
  const ada = await person(browser, server.url, 'ada', { room: 'draft' });
  await ada.locator('#log .text', { hasText: 'm39' }).waitFor();
  const height = await ada.locator('#text').evaluate((node) => node.offsetHeight);
  await ada.locator('#text').pressSequentially('a');
  for (let n = 0; n < 6; n += 1) {
    await ada.keyboard.press('Shift+Enter');
    await until(ada, atEnd, true);
  }
  assert.ok(await ada.locator('#text').evaluate((node) => node.offsetHeight) > height + 100);
  await post(server.url, 'draft', 'bot', 'the newest');
  await ada.locator('#log .text', { hasText: 'the newest' }).waitFor();
  await until(ada, atEnd, true);
  assert.ok(await ada.locator('#jump').isHidden());
  await clean(ada);
});

test('on a phone Enter starts a line and the button sends', async () => {
  const ada = await person(browser, server.url, 'ada', { room: 'phone-enter', ...phone });
  await ada.locator('#text').pressSequentially('one');
  await ada.locator('#text').press('Enter');
  await ada.locator('#text').pressSequentially('two');
  assert.equal(await ada.evaluate(value), 'one\ntwo');
  assert.equal(await ada.locator('#text').getAttribute('enterkeyhint'), 'enter');
  await ada.locator('#send').tap();
  await shows(ada, ['one\ntwo']);
  await clean(ada);
});

test('the Enter that commits a word in Safari does not send', async () => {
  const ada = await person(browser, server.url, 'ada', { room: 'safari' });
  await ada.locator('#text').fill('半句');
  await ada.locator('#text').evaluate((node) => node.dispatchEvent(new KeyboardEvent('keydown', { key: 'Enter', keyCode: 229, bubbles: true, cancelable: true })));
  assert.equal(await ada.evaluate(value), '半句');
  await ada.locator('#text').press('Enter');
  await shows(ada, ['半句']);
  await clean(ada);
});

test('a refused name is marked, keeps the focus, and leaves what is being written in sight', async () => {
  const ada = await person(browser, server.url, 'ada', { room: 'refused' });
  const other = await person(browser, server.url, '', { room: 'refused' });
  await other.locator('#name').fill('ADA');
  await other.locator('#name').press('Enter');
  await other.locator('#name[aria-invalid=true]').waitFor();
  assert.equal(await other.evaluate(active), 'name');
  assert.equal(await other.locator('#name').inputValue(), 'ADA');

  const bob = await person(browser, server.url, 'bob', { room: 'refused-b' });
  await person(browser, server.url, 'bob', { room: 'refused' });
  await bob.evaluate(() => localStorage.setItem('chatroom / draft refused', JSON.stringify('half a thought')));
  await goTo(bob, 'refused');
  await bob.locator('#name-help.problem').waitFor();
  assert.ok(await bob.locator('#text').isVisible());
  assert.equal(await bob.evaluate(value), 'half a thought');
  assert.ok(await bob.locator('#send').isDisabled());
  await clean(ada, other, bob);
});

test('changing the name says what that does, keeps the draft in sight, and Escape cancels it', async () => {
  const ada = await person(browser, server.url, 'ada', { room: 'escape' });
  await ada.locator('#text').fill('a draft');
  await (await settings(ada)).locator('#rename').click();
  await ada.locator('#name-help', { hasText: 'keep the old name' }).waitFor();
  assert.equal(await ada.evaluate(active), 'name');
  assert.ok(await ada.locator('#text').isVisible());
  await ada.keyboard.press('Escape');
  await ada.locator('#join').waitFor({ state: 'hidden' });
  assert.deepEqual([await ada.evaluate(active), await ada.evaluate(value)], ['text', 'a draft']);
  await clean(ada);
});

test('behind a message that the rate limit holds back the next one waits: one line says so for all', async () => {
  const ada = await person(browser, server.url, 'ada', { room: 'limit' });
  const refusal = { status: 429, headers: { 'Retry-After': '2' }, json: { error: 'too-many-messages', message: 'Wait.' } };
  const refuse = (route) => (route.request().method() === 'POST' ? route.fulfill(refusal) : route.continue());
  await ada.route('**/chat/limit', refuse);
  await write(ada, 'one', 'two');
  await ada.locator('#waiting-text', { hasText: /^Too many messages at once. Sent in [12] s.$/ }).waitFor();
  await until(ada, () => [...document.querySelectorAll('#pending .text')].map((node) => node.textContent), ['one', 'two']);
  await ada.unroute('**/chat/limit', refuse);
  await shows(ada, ['one', 'two']);
  // What is discarded is what was written, not lost.
  await ada.route('**/chat/limit', (route) => (route.request().method() === 'POST' ? route.fulfill({ ...refusal, headers: { 'Retry-After': '60' } }) : route.continue()));
  await write(ada, 'three', 'four');
  await ada.locator('#waiting-text', { hasText: 'Too many' }).waitFor();
  await ada.locator('#text').fill('five');
  await ada.locator('#waiting').getByRole('button', { name: 'Discard' }).click();
  await shows(ada, ['one', 'two']);
  assert.equal(await ada.evaluate(value), 'three\n\nfour\n\nfive');
  await clean(ada);
});

test('a long room name leaves the composer one line high', async () => {
  const ada = await person(browser, server.url, 'ada', { room: 'x'.repeat(64), ...phone });
  assert.ok(await ada.locator('#text').evaluate((node) => node.offsetHeight) < 60);
  assert.equal(await ada.evaluate(() => document.documentElement.scrollWidth), 390);
  await clean(ada);
});

test('a room name that cannot be is said in words, without a Retry or a composer', async () => {
  const ada = await person(browser, server.url, 'ada', { room: 'fine' });
  await ada.evaluate(() => { location.hash = '#a%2Fb!'; });
  await ada.locator('#notice-text', { hasText: 'at most 64' }).waitFor();
  for (const id of ['composer', 'join', 'try-again']) assert.ok(await ada.locator(`#${id}`).isHidden(), id);
  await ada.locator('#rooms a', { hasText: 'fine' }).click();
  await connected(ada);
  await write(ada, 'back');
  await shows(ada, ['back']);
  await clean(ada);
});

test('Tab completes a name after @ and at the start of a word, and moves on where there is none', async () => {
  const ada = await person(browser, server.url, 'ada', { room: 'tab' });
  for (const name of ['Grace', 'greta', '李雷']) await post(server.url, 'tab', name, 'hello');
  await ada.locator('.message').nth(2).waitFor();
  const text = ada.locator('#text');
  await text.pressSequentially('hi gr');
  await ada.keyboard.press('Tab');
  assert.deepEqual(await ada.locator('#names li').allTextContents(), ['greta', 'Grace']);
  await ada.keyboard.press('ArrowDown');
  await ada.keyboard.press('Tab');
  assert.equal(await ada.evaluate(value), 'hi Grace ');
  await text.pressSequentially('gre');
  await ada.keyboard.press('Tab');
  assert.equal(await ada.evaluate(value), 'hi Grace greta ');
  await text.pressSequentially('@');
  await ada.keyboard.press('Tab');
  assert.equal(await ada.evaluate(value), 'hi Grace greta @李雷 ');
  await text.fill('nobody');
  await ada.keyboard.press('Tab');
  assert.equal(await ada.evaluate(active), 'send');
  await clean(ada);
});

test('a click on a name puts it in, in the log and in the list of people', async () => {
  const ada = await person(browser, server.url, 'ada', { room: 'click' });
  const bob = await person(browser, server.url, 'bob', { room: 'click' });
  await post(server.url, 'click', 'bot', 'hello');
  await ada.locator('#text').fill('well');
  await ada.locator('.message .name', { hasText: 'bot' }).click();
  assert.equal(await ada.evaluate(value), 'well @bot ');
  await ada.locator('#people .person', { hasText: 'bob' }).click();
  assert.equal(await ada.evaluate(value), 'well @bot @bob ');
  await ada.keyboard.press('Enter');
  await bob.locator('.message.mention', { hasText: 'well @bot @bob' }).waitFor();
  await clean(ada, bob);
});

test('quotations, bold, italic and a block\'s language are shown, as text that no markup gets into', async () => {
  const ada = await person(browser, server.url, 'ada', { room: 'marks' });
  await write(ada, '> <b>quoted</b>\nand **bold _both_** and *italic*', '```js\nlet x;\n```');
  await ada.locator('blockquote', { hasText: '<b>quoted</b>' }).waitFor();
  assert.equal(await ada.locator('#log strong em').textContent(), 'both');
  assert.equal(await ada.locator('#log .text > em').textContent(), 'italic');
  assert.equal(await ada.locator('#log b').count(), 0);
  assert.match(await ada.locator('#log pre').evaluate((node) => getComputedStyle(node, '::before').content), /js/);
  await clean(ada);
});

test('an empty room offers to invite people; the link is copied, also without a clipboard interface', async () => {
  for (const clipboard of [true, false]) {
    const init = clipboard ? () => {} : () => Object.defineProperty(Navigator.prototype, 'clipboard', { value: undefined });
    const ada = await person(browser, server.url, `ada ${clipboard}`, { room: 'invité', permissions: ['clipboard-read', 'clipboard-write'], init });
    await ada.evaluate(() => {
      window.toasted = [];
      document.getElementById('toast').ontoggle = ({ newState }) => window.toasted.push([newState, performance.now()]);
    });
    await ada.locator('#invite-empty').click();
    await ada.locator('#toast', { hasText: 'Copied' }).waitFor();
    await until(ada, () => window.toasted.map(([state]) => state), ['open', 'closed']);
    const [[, shown], [, gone]] = await ada.evaluate(() => window.toasted);
    assert.ok(gone - shown > 1500, `${gone - shown} ms`);
    await ada.locator('#invite').click();
    await ada.locator('#toast').waitFor();
    await ada.locator('#scroller').click({ position: { x: 20, y: 20 } });
    await ada.keyboard.press('Control+V');
    assert.equal(await ada.evaluate(value), `${server.url}/#invit%C3%A9`);
    await clean(ada);
  }
});

test('on a phone the link of a room is shared as the phone does it', async () => {
  const init = () => {
    window.shared = [];
    navigator.share = async (what) => window.shared.push(what);
  };
  const ada = await person(browser, server.url, 'ada', { room: 'shared', init, ...phone });
  await ada.locator('#invite-empty').tap();
  await ada.locator('#here').tap();
  await ada.locator('#invite').tap();
  const what = { title: '#shared', url: `${server.url}/#shared` };
  await until(ada, () => window.shared, [what, what]);
  await clean(ada);
});
