// A chat behind a password: what people read who do not get in, and that the others come in under any user name.
import test, { after, before } from 'node:test';
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { clean, openBrowser, person, scratch, shows, startServer, write } from './support.mjs';

let browser;
let server;
let folder;
before(async () => {
  browser = await openBrowser();
  folder = scratch();
  await writeFile(`${folder}/password`, 'open sesame\n');
  server = await startServer(['--password-file', `${folder}/password`, '--allow-host', '127.0.0.1']);
});
after(async () => {
  await browser.close();
  await server.stop();
});

/** Opens a page and answers its password prompts by these answers, in turn. */
async function ask(url, ...answers) {
  const context = await browser.newContext();
  const page = await context.newPage();
  const session = await context.newCDPSession(page);
  let asked = 0;
  session.on('Fetch.requestPaused', ({ requestId }) => session.send('Fetch.continueRequest', { requestId }));
  session.on('Fetch.authRequired', ({ requestId }) => {
    session.send('Fetch.continueWithAuth', { requestId, authChallengeResponse: answers[asked] ?? { response: 'CancelAuth' } });
    asked += 1;
  });
  await session.send('Fetch.enable', { handleAuthRequests: true });
  const answer = await page.goto(url);
  const shown = [answer.status(), await page.locator('body').innerText()];
  const scripts = await page.locator('script').count();
  await context.close();
  return { asked, shown, scripts };
}

function assertReadable({ shown: [, text], scripts }) {
  assert.doesNotMatch(text, /[{}"]|password-required|unknown-host/);
  assert.match(text, /Reload this page to try again\.$/);
  assert.equal(scripts, 0);
}

test('who cancels the password prompt reads what to do, not JSON, and that any user name will do', async () => {
  const cancelled = await ask(server.url);
  assert.deepEqual([cancelled.asked, cancelled.shown[0]], [1, 401]);
  assert.match(cancelled.shown[1], /password/);
  assert.match(cancelled.shown[1], /any user name/i);
  assertReadable(cancelled);
});

test('a wrong password asks again, and who gives up then reads the same page', async () => {
  const wrong = { response: 'ProvideCredentials', username: 'ada', password: 'open says me' };
  const given = await ask(server.url, wrong);
  assert.deepEqual([given.asked, given.shown[0]], [2, 401]);
  assertReadable(given);
});

test('a browser that asks for a host that is not allowed gets a page to read, too', async () => {
  const refused = await ask(server.url.replace('127.0.0.1', 'elsewhere.localhost'));
  assert.deepEqual([refused.asked, refused.shown[0]], [0, 403]);
  assertReadable(refused);
});

test('the password lets in under any user name, and the page, its stream and its posts need no other prompt', async () => {
  for (const username of ['', 'ada']) {
    const httpCredentials = { username, password: 'open sesame' };
    const room = `in-${username}`;
    const page = await person(browser, server.url, `ada ${username}`, { room, httpCredentials });
    await write(page, 'hello');
    await shows(page, ['hello']);
    await clean(page);
  }
});
