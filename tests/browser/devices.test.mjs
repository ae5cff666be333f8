// One person in two browsers: by a code, and because a proxy says who it is.
import test, { after, before } from 'node:test';
import assert from 'node:assert/strict';
import { createServer, request as forward } from 'node:http';
import { clean, connected, openBrowser, people, person, post, settings, shows, startServer, until, violations, write } from './support.mjs';

let browser;
before(async () => { browser = await openBrowser(); });
after(() => browser.close());

const codeOf = async (page) => {
  await settings(page);
  await page.getByRole('button', { name: 'Use on another device' }).click();
  return page.locator('#code').textContent();
};

test('a code makes the phone the same person, with the name, the rooms and what is read', async () => {
  const server = await startServer(['--message-rate', '0']);
  const laptop = await person(browser, server.url, 'ada', { room: 'den', permissions: ['clipboard-read', 'clipboard-write'] });
  await write(laptop, 'from the laptop');
  await laptop.evaluate(() => { location.hash = '#attic'; });
  await laptop.locator('.rooms a', { hasText: 'attic' }).waitFor();
  const code = await codeOf(laptop);
  assert.match(code, /^[0-9A-Z]{5}-[0-9A-Z]{5}$/);
  assert.deepEqual(await violations(laptop), []);

  const phone = await person(browser, server.url, undefined, { room: 'lobby' });
  await phone.getByRole('button', { name: 'I am here on another device already' }).click();
  await phone.getByLabel('Code').fill('AAAAA-AAAAA');
  assert.deepEqual(await violations(phone), []);
  await phone.getByRole('button', { name: 'Continue' }).click();
  await phone.locator('#dialog .problem', { hasText: 'Get a new one' }).waitFor();
  await phone.getByLabel('Code').fill(` ${code.toLowerCase().replace('-', '')} `);
  await phone.getByRole('button', { name: 'Continue' }).click();
  await phone.locator('#own-name', { hasText: 'ada' }).waitFor({ state: 'attached' });
  await connected(phone);
  const rooms = () => [...document.querySelectorAll('#rooms a bdi')].map((node) => node.textContent);
  await until(phone, rooms, ['attic', 'den', 'lobby']);
  await phone.evaluate(() => { location.hash = '#den'; });
  await shows(phone, ['from the laptop']);
  assert.equal(await phone.locator('.badge.mentioned, .new').count(), 0, 'what was read there is read here');
  // Both are one member, and each may remove what the other wrote.
  await write(phone, 'from the phone');
  await until(phone, people, ['ada']);
  await phone.locator('.message', { hasText: 'from the laptop' }).hover();
  await phone.locator('.message', { hasText: 'from the laptop' }).getByRole('button', { name: 'Message actions' }).click();
  await phone.getByRole('menuitem', { name: 'Remove…' }).waitFor();

  // The link asks before it makes anybody another person, and does not stay in the address.
  await laptop.keyboard.press('Escape');
  await codeOf(laptop);
  await laptop.getByRole('button', { name: 'Copy link' }).click();
  const link = await laptop.evaluate(() => navigator.clipboard.readText());
  const tablet = await (await browser.newContext({ locale: 'en-GB' })).newPage();
  tablet.problems = [];
  await tablet.goto(link);
  await tablet.getByRole('button', { name: 'Continue' }).waitFor();
  assert.doesNotMatch(tablet.url(), /device/);
  assert.equal(await tablet.locator('#own-name').textContent(), '');
  await tablet.getByRole('button', { name: 'Continue' }).click();
  await tablet.locator('#own-name', { hasText: 'ada' }).waitFor({ state: 'attached' });
  await clean(laptop, phone, tablet);
  await server.stop();
});

/** A code that somebody has made for others, with whatever they like in it. */
async function codeWith(url, carried) {
  const stream = await fetch(`${url}/chat`, { headers: { Accept: 'text/event-stream' } });
  const headers = { 'Content-Type': 'application/json', Cookie: stream.headers.get('set-cookie').split(';')[0] };
  await stream.body.cancel();
  return (await (await fetch(`${url}/me/code`, { method: 'POST', headers, body: JSON.stringify(carried) })).json()).code;
}

const useCode = async (page, code) => {
  await page.getByLabel('Code').fill(code);
  await Promise.all([page.waitForEvent('load'), page.getByRole('button', { name: 'Continue' }).click()]);
  await connected(page);
};
const roomsOf = () => [...document.querySelectorAll('#rooms a bdi')].map((node) => node.textContent);

test('a link with a code that somebody else has made takes nobody over unawares, and no private room away', async () => {
  const server = await startServer();
  const key = 'abcdefghjkmnpqrstvwxyz0123';
  const ada = await person(browser, server.url, 'ada', { room: `plans~${key}` });
  await until(ada, roomsOf, ['plans']);
  const code = await codeWith(server.url, { name: 'mallory', followed: { lobby: {} } });
  await ada.evaluate((fragment) => { location.hash = fragment; }, `#device=${code}`);
  await ada.locator('#dialog', { hasText: 'You stop being ada on this device' }).waitFor();
  assert.equal(await ada.getByLabel('Code').inputValue(), '');
  assert.deepEqual(await violations(ada), []);
  await useCode(ada, code);
  await ada.locator('#own-name', { hasText: 'mallory' }).waitFor({ state: 'attached' });
  await until(ada, roomsOf, ['lobby', 'plans']);
  await clean(ada);
  await server.stop();
});

test('whatever a code carries, the page works, and what is new counts as unread', async () => {
  const server = await startServer(['--message-rate', '0']);
  const far = '9999999999999-0';
  for (const [n, carried] of [{ name: 5, followed: { dev: 3 } }, { name: {}, followed: { lobby: null, dev: { read: {} } } }, { name: { at: 1 }, followed: 'abc' }, { followed: { dev: { read: far } } }].entries()) {
    const ada = await person(browser, server.url);
    await ada.getByRole('button', { name: 'I am here on another device already' }).click();
    await useCode(ada, await codeWith(server.url, carried));
    if (carried.followed.dev) {
      const read = () => JSON.parse(localStorage['chatroom / followed']).dev.read;
      await post(server.url, 'dev', 'bot', 'new');
      if (carried.followed.dev.read === far) {
        await ada.locator('#rooms li', { hasText: 'dev' }).locator('.badge', { hasText: '1' }).waitFor();
        assert.notEqual(await ada.evaluate(read), far);
      }
    }
    await ada.reload();
    await connected(ada);
    await ada.locator('#name').fill(`ada${n}`);
    await ada.keyboard.press('Enter');
    await ada.locator('#own-name', { hasText: `ada${n}` }).waitFor({ state: 'attached' });
    await write(ada, 'hello');
    await ada.locator('.message.own', { hasText: 'hello' }).last().waitFor();
    await clean(ada);
  }
  await server.stop();
});

/** A proxy that names the user who is in its cookie, or the one given. */
async function proxyOf(url, user) {
  const { hostname, port } = new URL(url);
  const proxy = createServer((request, answer) => {
    const headers = { ...request.headers, 'remote-user': user() };
    const onward = forward({ hostname, port, path: request.url, method: request.method, headers }, (response) => {
      answer.writeHead(response.statusCode, response.headers);
      response.pipe(answer);
    });
    onward.on('error', () => answer.destroy());
    answer.on('close', () => onward.destroy());
    request.pipe(onward);
  }).listen(0, '127.0.0.1');
  await new Promise((resolve) => proxy.once('listening', resolve));
  proxy.unref(); // A test that fails does not close it.
  return { url: `http://127.0.0.1:${proxy.address().port}`, close: () => (proxy.closeAllConnections(), proxy.close()) };
}

test('with a proxy that names the user, the page asks for no name', async () => {
  const server = await startServer(['--trusted-proxy', '127.0.0.1', '--user-header', 'Remote-User', '--moderator', 'Ada L.', '--message-rate', '0']);
  let user = 'Ada L.';
  const proxy = await proxyOf(server.url, () => user);
  const laptop = await person(browser, proxy.url, undefined, { room: 'den' });
  await laptop.locator('#own-name', { hasText: 'Ada L.' }).waitFor({ state: 'attached' });
  await laptop.locator('#composer').waitFor();
  assert.equal(await laptop.locator('#join').isVisible(), false);
  await settings(laptop);
  await laptop.getByText('You are a moderator.').waitFor();
  await laptop.locator('#moderate').waitFor({ state: 'hidden' }); // There is no password.
  for (const hidden of ['#rename', '#take-along']) assert.equal(await laptop.locator(hidden).isVisible(), false, hidden);
  await laptop.keyboard.press('Escape');
  await write(laptop, 'hello');
  await shows(laptop, ['hello']);
  // Elsewhere, and under a name that this browser had before, it is the same person.
  const phone = await person(browser, proxy.url, undefined, {
    room: 'den', init: () => { localStorage['chatroom / name'] = '"somebody"'; },
  });
  await phone.locator('#own-name', { hasText: 'Ada L.' }).waitFor({ state: 'attached' });
  await until(phone, people, ['Ada L.']);
  await write(phone, 'from the phone');
  await shows(laptop, ['hello', 'from the phone']);
  await until(laptop, () => [...new Set([...document.querySelectorAll('#log .name')].map((node) => node.textContent))], ['Ada L.']);
  // Somebody whose name looks the same is told so, and reads on.
  user = 'ADA L.';
  const other = await person(browser, proxy.url, undefined, { room: 'den' });
  await other.locator('#notice', { hasText: 'already uses the name' }).waitFor();
  assert.equal(await other.locator('#join').isVisible(), false);
  await shows(other, ['hello', 'from the phone']);
  await settings(other);
  await other.locator('#moderation').waitFor({ state: 'hidden' });
  await clean(laptop, phone, other);
  proxy.close();
  await server.stop();
});
