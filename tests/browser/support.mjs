// What the page's tests share: servers, a network that can be cut, browsers, and the people who use the page in them.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import * as common from '../common/support.mjs';

/** Starts a server. `kill()` is SIGKILL, `stop()` SIGTERM, and both wait for its end; `pause()` freezes it. */
export async function startServer(options = [], listen = '127.0.0.1:0') {
  const { url, child, kill } = await common.startServer(undefined, options, { listen });
  return { url, address: new URL(url).host, stop: () => kill(), kill: () => kill('SIGKILL'), pause: () => common.freeze(child), resume: () => child.kill('SIGCONT') };
}

/** A network between browser and server that can be cut: what is open breaks, what is new is refused, until it is restored. */
export async function startNetwork(url) {
  const { hostname, port } = new URL(url);
  const sockets = new Set();
  let whole = true;
  const network = createServer((near) => {
    if (!whole) return near.destroy();
    const far = connect(port, hostname);
    for (const [socket, other] of [[near, far], [far, near]]) {
      sockets.add(socket);
      socket.on('error', () => other.destroy());
      socket.on('close', () => (sockets.delete(socket), other.destroy()));
      socket.pipe(other);
    }
    return undefined;
  });
  await new Promise((resolve) => network.listen(0, '127.0.0.1', resolve));
  network.unref();
  return {
    url: `http://127.0.0.1:${network.address().port}`,
    cut: () => { whole = false; sockets.forEach((socket) => socket.destroy()); },
    restore: () => { whole = true; },
    close: () => { network.close(); sockets.forEach((socket) => socket.destroy()); },
  };
}

export const { scratch } = common;
export const openBrowser = (...flags) => common.chromium(...flags);

/** Posts as a program would, under a free name. */
export async function post(url, room, name, text) {
  const answer = await common.post(url, text, { name, room });
  if (answer.status >= 300) throw new Error(`the post was refused: ${answer.status} ${answer.text}`);
  return answer.json();
}

/** Somebody at the page: a browser context of their own (cookies, storage) and a first tab in it. Without a name they read along. */
export async function person(browser, url, name, { room = 'lobby', init, watch, ...options } = {}) {
  const context = await browser.newContext({ locale: 'en-GB', ...options });
  if (init) await context.addInitScript(init);
  context.setDefaultTimeout(15_000);
  watch?.(context);
  return openTab(context, url, { name, room });
}

/** Another tab of somebody; the browser remembers the name already where it has one. */
export async function openTab(context, url, { name, room = 'lobby' } = {}) {
  const page = await context.newPage();
  page.problems = [];
  page.on('pageerror', (error) => page.problems.push(`script error: ${error.message}`));
  page.on('console', (line) => /content security policy/i.test(line.text()) && page.problems.push(line.text()));
  page.on('request', (request) => request.url().startsWith(url) || page.problems.push(`request elsewhere: ${request.url()}`));
  await page.goto(`${url}/#${encodeURIComponent(room)}`);
  if (name) {
    await page.locator('#name').fill(name);
    await page.locator('#join button').first().click();
    await page.locator('#own-name', { hasText: name }).waitFor({ state: 'attached' });
  }
  await connected(page);
  return page;
}

/** Opens the settings, on a phone through the panel of rooms; they close by themselves when something else is used. */
export async function settings(page) {
  if (await page.locator('#settings').isVisible()) return page;
  if (!(await page.locator('#settings-open').isVisible())) await page.locator('#menu').click();
  await page.locator('#settings-open').click();
  return page;
}

/** Counts the event streams of a browser context that are open at this moment. */
export function watchStreams() {
  const open = new Set();
  const watch = (context) => {
    context.on('request', (request) => request.headers().accept === 'text/event-stream' && open.add(request));
    for (const end of ['requestfailed', 'requestfinished']) context.on(end, (request) => open.delete(request));
  };
  return Object.assign(watch, { count: () => open.size, latest: () => [...open].at(-1).url() });
}

/** Goes to another room, as a link in the page does. */
export async function goTo(page, room) {
  await page.evaluate((fragment) => { location.hash = fragment; }, `#${encodeURIComponent(room)}`);
  await page.locator('#room-title', { hasText: room }).waitFor();
}

/** For `person`'s `init`: the page can be told that it is hidden, and its notifications are collected. */
export function withVisibility() {
  window.notified = [];
  window.notifications = [];
  window.Notification = class extends EventTarget {
    static permission = 'default';
    static requestPermission = async () => (this.permission = 'granted');
    constructor(title, { body }) {
      super();
      window.notified.push(`${title}: ${body}`);
      window.notifications.push(this);
    }
    close() {}
  };
}

export const hide = (page, hidden) => page.evaluate((value) => {
  Object.defineProperty(document, 'hidden', { value, configurable: true });
  document.dispatchEvent(new Event('visibilitychange'));
}, hidden);

export const connected = (page) => page.locator('.dot.connected').waitFor({ timeout: 40_000 });

export async function write(page, ...texts) {
  for (const text of texts) {
    await page.locator('#text').fill(text);
    if (await page.evaluate(() => matchMedia('(any-pointer: fine)').matches)) await page.locator('#text').press('Enter');
    else await page.locator('#send').tap();
  }
}

/** Waits until the page shows exactly these texts, in this order, and nothing is pending. */
export async function shows(page, texts, timeout = 20_000) {
  await until(page, () => ['log', 'pending'].map((id) => [...document.querySelectorAll(`#${id} .text`)].map((node) => node.textContent)), [texts, []], timeout);
}

/** Waits until `read`, run in the page, gives this value; fails with the difference where it never does. */
export async function until(page, read, expected, timeout = 20_000) {
  const deadline = Date.now() + timeout;
  let value;
  do {
    value = await page.evaluate(read);
    if (isDeepStrictEqual(value, expected)) return;
    await pause(50);
  } while (Date.now() < deadline);
  assert.deepEqual(value, expected);
}

export const people = () => [...document.querySelectorAll('#people .person')].map((node) => node.textContent);

const axe = readFile(new URL('node_modules/axe-core/axe.min.js', import.meta.url), 'utf8');

/** What axe-core finds to object to. */
export async function violations(page) {
  if (await page.evaluate(() => !window.axe)) await page.evaluate(await axe);
  const runOnly = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'];
  const result = await page.evaluate((options) => window.axe.run(options), { runOnly, resultTypes: ['violations'] });
  return result.violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html, failureSummary }) => `${html} ${failureSummary}`).join(' | ')}`);
}

/** Ends a test: no script failed, no policy was violated, nothing was asked from elsewhere, in any tab of these people. */
export async function clean(...pages) {
  for (const page of pages) {
    for (const tab of page.context().pages()) assert.deepEqual(tab.problems, []);
    await page.context().close();
  }
}
