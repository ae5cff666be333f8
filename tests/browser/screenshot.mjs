// Makes pictures of the page in a window on a display of their own (Debian's xvfb), with scrollbars as a desktop has them.
// `npm run screenshot` makes the README's. `node screenshot.mjs FOLDER [STATE…]` makes all to judge the page by, or those named.
// Debian's fonts-inter, fonts-noto-cjk and fonts-noto-color-emoji show it as other systems' own fonts do.
import { chromium } from 'playwright-core';
import { spawn } from 'node:child_process';
import { mkdir, writeFile } from 'node:fs/promises';
import { connected, goTo, post, scratch, startServer, write } from './support.mjs';

const [folder, ...wanted] = process.argv.slice(2);
const target = folder ?? new URL('screenshots', import.meta.url).pathname;
const talk = [
  ['mira', 'Morning! Is the new router up?'],
  ['mira', 'I can reach the printer again, so I guess it is 😄'],
  ['Jonas', 'Up since seven. The old one went to the attic: https://example.org/wiki/attic_(inventory)'],
  ['李雷', '图书馆那边也正常了，谢谢！'],
  ['amina', 'شكرًا جزيلًا، كل شيء يعمل الآن'],
  ['alex', 'Great. Three things before lunch:\n- label the new cables, both ends, so that the next one who looks for them finds them\n- throw away the old ones\n- **tell the library**'],
  ['mira', '@alex I will do the labels.'],
  ['Jonas', '```\n$ ping -c 5 router\n5 packets transmitted, 5 received, 0% packet loss\n```'],
  ['alex', '> Jonas: 0% packet loss\nLooks good to me.'],
  ['alex', 'See you downstairs at half past twelve.'],
  ['mira', '👍'],
];
const desktop = { width: 1280, height: 800 };
const phone = { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true };

// What is done before each picture, and in what kind of window.
const states = {
  desktop: {},
  dark: { colorScheme: 'dark' },
  forced: { forcedColors: 'active' },
  small: { viewport: { width: 1024, height: 640 } },
  'small-people': { viewport: { width: 1024, height: 640 }, act: (page) => page.locator('#here').click() },
  phone,
  'phone-dark': { ...phone, colorScheme: 'dark' },
  'phone-rooms': { ...phone, act: (page) => page.locator('#menu').tap() },
  'phone-people': { ...phone, act: (page) => page.locator('#here').tap() },
  'phone-menu': { ...phone, act: (page) => page.locator('.message .bubble').nth(2).tap({ position: { x: 9, y: 9 } }) },
  'phone-settings': { ...phone, act: async (page) => {
    await page.locator('#menu').tap();
    await page.locator('#settings-open').tap();
  } },
  'phone-names': { ...phone, act: (page) => page.locator('#text').pressSequentially('well, @') },
  lying: { ...phone, viewport: { width: 844, height: 390 } },
  narrow: { ...phone, viewport: { width: 320, height: 568 }, colorScheme: 'dark' },
  'large-text': { ...phone, large: true },
  'large-text-rooms': { ...phone, large: true, act: (page) => page.locator('#menu').tap() },
  'large-text-desktop': { large: true },
  chinese: { locale: 'zh-CN' },
  'chinese-settings': { locale: 'zh-CN', act: (page) => page.locator('#settings-open').click() },
  menu: { act: openMenu },
  question: { act: async (page) => {
    await openMenu(page);
    await page.getByRole('menuitem').last().click();
  } },
  settings: { act: (page) => page.locator('#settings-open').click() },
  rename: { act: async (page) => {
    await page.locator('#settings-open').click();
    await page.locator('#rename').click();
  } },
  names: { act: (page) => page.locator('#text').pressSequentially('好的@') },
  'too-long': { act: (page) => page.locator('#text').fill('A long report. '.repeat(400)) },
  copied: { act: (page) => page.locator('#invite').click(), permissions: ['clipboard-read', 'clipboard-write'] },
  empty: { room: 'attic' },
  'phone-empty': { ...phone, room: 'attic' },
  reader: { name: '' },
  'phone-reader': { ...phone, name: '' },
  long: { room: 'long' },
  'phone-long': { ...phone, room: 'long' },
  'right-to-left': { room: 'عربي' },
  crowded: { room: 'crowd', crowd: true },
  'crowded-dark': { room: 'crowd', crowd: true, colorScheme: 'dark' },
  unread: { room: 'unread', later: true },
  'phone-unread': { ...phone, room: 'unread', later: true },
  'private-new': { act: (page) => page.locator('#new-private').click() },
  private: { act: makePrivate },
  'phone-private': { ...phone, act: async (page) => {
    await page.locator('#menu').tap();
    await makePrivate(page);
  } },
  'private-rooms': { ...phone, act: async (page) => {
    await page.locator('#menu').tap();
    await makePrivate(page);
    await page.locator('#menu').tap();
  } },
  'private-leave': { act: async (page) => {
    await makePrivate(page);
    await page.locator('#rooms li:has([aria-current]) .leave').press('Enter');
  } },
  offline: { act: async (page) => {
    await page.context().setOffline(true);
    await page.locator('#text').fill('Is anybody there?');
    await page.locator('#send').click();
    await page.locator('#pending li').waitFor();
  } },
  print: { print: true },
};

async function openMenu(page) {
  await page.locator('.message.own').last().hover();
  await page.locator('.message.own .more').last().click();
}

async function makePrivate(page) {
  await page.locator('#new-private').click();
  await page.locator('dialog input').fill('Geschenk für Jonas'.replaceAll(' ', '-'));
  await page.keyboard.press('Enter');
  await page.locator('#room-lock').waitFor();
  await connected(page);
}

/** A display of its own, with fonts that take the place of a system's. */
async function openWindow() {
  const files = scratch();
  const fonts = `${files}/fonts.conf`;
  const prefer = ['Inter', 'Noto Sans CJK SC', 'Noto Color Emoji'].map((family) => `<family>${family}</family>`).join('');
  const alias = (family) => `<alias binding="strong"><family>${family}</family><prefer>${prefer}</prefer></alias>`;
  await writeFile(fonts, `<?xml version="1.0"?><fontconfig><include>/etc/fonts/fonts.conf</include>${alias('system-ui')}${alias('sans-serif')}</fontconfig>`);
  const display = spawn('Xvfb', ['-displayfd', '1', '-screen', '0', '1400x1000x24', '-nolisten', 'tcp'], { stdio: ['ignore', 'pipe', 'ignore'] });
  const number = await new Promise((resolve, reject) => {
    display.on('error', reject);
    display.stdout.once('data', (data) => resolve(String(data).trim()));
  });
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', headless: false, args: ['--no-sandbox', '--disable-gpu', '--no-first-run'],
    env: { ...process.env, DISPLAY: `:${number}`, FONTCONFIG_FILE: fonts },
  });
  return { browser, close: async () => {
    await browser.close();
    display.kill();
  } };
}

/** Somebody who is there while the pictures are made. */
async function join(browser, url, name, { room = 'lobby', ...options } = {}) {
  const context = await browser.newContext({ locale: 'en-GB', viewport: desktop, ...options });
  const page = await context.newPage();
  await page.goto(`${url}/#${encodeURIComponent(room)}`);
  if (name) {
    await page.locator('#name').fill(name);
    await page.locator('#name').press('Enter');
    await page.locator('#own-name', { hasText: name }).waitFor({ state: 'attached' });
  }
  await connected(page);
  return page;
}

/** People and what they said, in every room that a picture shows. */
async function furnish(browser, url) {
  const people = {};
  for (const name of new Set(talk.map(([name]) => name))) people[name] = await join(browser, url, name);
  const { alex } = people;
  for (const room of ['garden', 'library', 'lobby']) {
    await goTo(alex, room);
    await connected(alex);
  }
  await connected(alex);
  for (const [name, text] of talk) {
    await write(people[name], text);
    await people[name].locator('#pending li').waitFor({ state: 'hidden' });
    await people[name].locator('#text').fill('');
  }
  for (const [room, text] of [['garden', 'Who waters the tomatoes?'], ['garden', 'alex, is it you?'], ['library', 'New books are in.'], ['workshop', 'Hello'], ['music', 'Hello']]) await post(url, room, 'mira', text);
  await goTo(people.Jonas, 'workshop');
  await goTo(people.Jonas, 'lobby');
  if (!folder) return people;
  for (const [name, text] of [['ليلى', 'مرحبًا بالجميع، هل الاجتماع اليوم؟'], ['ليلى', '- أولًا: الميزانية\n- ثانيًا: الموقع الجديد www.example.org'], ['דנה', 'כן, בשעה שלוש. alex יבוא גם?']]) await post(url, 'عربي', name, text);
  await post(url, 'long', 'mira', Array.from({ length: 100 }, (_, n) => `${n + 1}. line of a report that goes on and on`).join('\n'));
  await post(url, 'long', 'Jonas', 'Thank you.\n\n1. That was long, and this item is longer than a line can be, so that it goes on in the next one, where it hangs\n2. but complete');
  await post(url, 'unread', 'mira', 'Before you left.');
  for (let n = 0; n < 24; n += 1) await post(url, `room-${n}`, 'mira', 'Hello');
  return people;
}

let gathered = false; // The crowd stays.

/** One picture, by somebody who looks in just for it. */
async function take(browser, url, alex, shot, { act, room, name, large, crowd, later, print, ...options }) {
  const guest = name === '' || room || options.locale || options.hasTouch || options.permissions;
  const context = guest ? await browser.newContext({ locale: 'en-GB', viewport: desktop, ...options }) : alex.context();
  if (guest && name !== '') await context.addCookies(await alex.context().cookies());
  const page = await context.newPage();
  await page.setViewportSize(options.viewport ?? desktop);
  await page.emulateMedia({ colorScheme: options.colorScheme ?? 'light', forcedColors: options.forcedColors ?? 'none', media: 'screen' });
  await page.addInitScript((values) => { for (const [key, value] of Object.entries(values)) localStorage[key] ??= value; }, name === '' || !guest ? {} : await alex.evaluate(() => ({ ...localStorage })));
  if (large) await (await context.newCDPSession(page)).send('Page.setFontSizes', { fontSizes: { standard: 32, fixed: 26 } });
  if (crowd && !gathered) for (const [n, other] of ['Zoë', 'Jürgen', 'Björn', 'Anna Lee', 'Tomás', 'Ewa', 'Kenji', 'Fatima', 'Olu', 'Priya', 'Sven', 'Ines', 'Luca', 'Mads', 'Noor', 'Pia', 'Rui', 'Sol', 'Tariq', 'Uma'].entries()) {
    await join(browser, url, other, { room, viewport: desktop });
    await post(url, room, `${other}'s bot`, `Message ${n + 1}`);
    gathered = true;
  }
  await page.goto(`${url}/#${encodeURIComponent(room ?? 'lobby')}`);
  await connected(page);
  if (crowd) for (let n = 0; n < 20; n += 1) {
    await goTo(page, `room-${n}`);
    await connected(page);
  }
  if (crowd) await goTo(page, room);
  if (later) {
    await connected(page);
    await goTo(page, 'lobby');
    for (const text of ['Since you left, this was said.', 'And this.']) await post(url, room, 'mira', text);
    await page.locator('#rooms li', { hasText: room }).locator('.unread').waitFor({ state: 'attached' });
    await goTo(page, room);
  }
  if (!room) await page.locator('.message').nth(talk.length - 1).waitFor();
  if (!options.hasTouch) await page.locator('#text').focus({ timeout: 500 }).catch(() => {});
  await page.locator('.rooms li').nth(2).waitFor({ state: 'attached' });
  await page.mouse.move(5, 400);
  await act?.(page);
  if (print) await page.emulateMedia({ media: 'print' });
  await page.screenshot({ path: `${target}/${shot}.png`, fullPage: Boolean(print) });
  await page.locator('#text').fill('', { timeout: 500 }).catch(() => {}); // A draft would stay.
  if (guest) await context.close();
  else {
    await page.close();
    await context.setOffline(false);
  }
}

await mkdir(target, { recursive: true });
const server = await startServer(['--message-rate', '0', '--max-streams-per-ip', '0']);
const { browser, close } = await openWindow();
try {
  const { alex } = await furnish(browser, server.url);
  for (const [shot, state] of Object.entries(states)) {
    if (folder ? !wanted.length || wanted.includes(shot) : shot === 'desktop') await take(browser, server.url, alex, shot, state);
  }
} finally {
  await close();
  await server.stop();
}
