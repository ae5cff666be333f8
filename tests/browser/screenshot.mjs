// Makes the README's picture and, beside it in the given folder, the ones to judge the page by:
// `npm run screenshot` for the README, `node screenshot.mjs FOLDER` for all of them.
import { chromium } from 'playwright-core';
import { mkdir } from 'node:fs/promises';
import { setTimeout as pause } from 'node:timers/promises';
import { startServer, openBrowser, post } from './support.mjs';

const folder = process.argv[2];
const talk = [
  ['mira', 'Morning! Is the new router up?'],
  ['mira', 'I can reach the printer again, so I guess it is 😄'],
  ['Jonas', 'Up since seven. The old one went to the attic: https://example.org/wiki/attic_(inventory)'],
  ['Jonas', 'If something is slow, run `ping -c 5 router` and tell me the last line.'],
  ['李雷', '图书馆那边也正常了，谢谢！'],
  ['amina', 'شكرًا جزيلًا، كل شيء يعمل الآن'],
  ['alex', 'Great. Lunch at half past twelve?'],
  ['mira', '@alex yes! I will bring the bread.'],
  ['Jonas', '```\n$ ping -c 5 router\n5 packets transmitted, 5 received, 0% packet loss\n```'],
  ['alex', '> Jonas: 0% packet loss\n**Looks good** to me.'],
  ['alex', 'See you downstairs.'],
];

const server = await startServer(['--message-rate', '0']);
const browser = await openBrowser();
const crowd = [];
for (const name of ['mira', 'Jonas', '李雷', 'amina']) {
  const context = await browser.newContext();
  const page = await context.newPage();
  await page.goto(`${server.url}/#lobby`);
  await page.getByLabel('Your name').fill(name);
  await page.locator('#join .primary').click();
  await page.locator('#own-name', { hasText: name }).waitFor();
  crowd.push(page);
}
const shots = folder
  ? [['light', 1180, 760, 'light'], ['dark', 1180, 760, 'dark'], ['forced', 1180, 760, 'light'], ['phone', 390, 780, 'light'], ['lying', 844, 390, 'light'], ['narrow', 320, 568, 'dark']]
  : [['desktop', 1180, 760, 'light']];
const target = folder ?? new URL('screenshots', import.meta.url).pathname;
await mkdir(target, { recursive: true });

const context = await browser.newContext({ locale: 'en-GB' });
const alex = await context.newPage();
await alex.goto(`${server.url}/#lobby`);
await alex.getByLabel('Your name').fill('alex');
await alex.locator('#join .primary').click();
await alex.locator('.dot.connected').waitFor();
for (const room of ['garden', 'lobby']) {
  await alex.evaluate((name) => { location.hash = `#${name}`; }, room);
  await alex.locator('.dot.connected').waitFor();
}
await alex.locator('#rooms li').nth(1).waitFor();
await pause(1100); // What comes in the first second counts as read.
for (const [room, text] of [['garden', 'Who waters the tomatoes?'], ['garden', 'alex, is it you?'], ['workshop', 'Hello']]) await post(server.url, room, 'mira', text);
for (const [name, text] of talk) {
  const page = name === 'alex' ? alex : crowd.find((_, i) => ['mira', 'Jonas', '李雷', 'amina'][i] === name);
  await page.locator('#text').fill(text);
  await page.keyboard.press('Enter');
  await page.locator('.message.own', { hasText: text.replaceAll('**', '').slice(-12).replace(/\n?```$/, '') }).last().waitFor();
}
for (const [shot, width, height, colorScheme] of shots) {
  await alex.setViewportSize({ width, height });
  await alex.emulateMedia({ colorScheme, forcedColors: shot === 'forced' ? 'active' : 'none' });
  await alex.reload();
  await alex.locator('.message').nth(talk.length - 1).waitFor();
  await alex.locator('.rooms li').nth(2).waitFor({ state: 'attached' });
  await pause(1100);
  await alex.screenshot({ path: `${target}/${shot}.png` });
  if (['phone', 'lying', 'narrow'].includes(shot)) {
    await alex.locator('#menu').click();
    await alex.locator('#side').screenshot({ path: `${target}/${shot}-side.png` });
    await alex.locator('#side-close').click();
  }
}
if (folder) {
  const reader = await (await browser.newContext({ locale: 'zh-CN', viewport: { width: 1180, height: 760 } })).newPage();
  await reader.goto(`${server.url}/#lobby`);
  await reader.locator('.message').nth(talk.length - 1).waitFor();
  await reader.screenshot({ path: `${target}/chinese.png` });
  await alex.setViewportSize({ width: 1180, height: 760 });
  await alex.emulateMedia({ colorScheme: 'light', forcedColors: 'none' });
  await alex.locator('.message.own').last().hover();
  await alex.locator('.message.own .more').last().click();
  await alex.screenshot({ path: `${target}/menu.png` });
  await alex.getByRole('menuitem').last().click();
  await alex.screenshot({ path: `${target}/question.png` });
}
await browser.close();
await server.stop();
