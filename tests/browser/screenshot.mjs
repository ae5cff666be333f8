// Makes the README's picture and, beside it in the given folder, the ones to judge the page by:
// `npm run screenshot` for the README, `node screenshot.mjs FOLDER` for all of them.
import { chromium } from 'playwright-core';
import { mkdir } from 'node:fs/promises';
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
  ['alex', 'Looks good to me.'],
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
  ? [['light', 1180, 760, 'light', false], ['dark', 1180, 760, 'dark', false], ['phone', 390, 780, 'light', true], ['narrow', 320, 568, 'dark', true]]
  : [['desktop', 1180, 760, 'light', false]];
const target = folder ?? new URL('screenshots', import.meta.url).pathname;
await mkdir(target, { recursive: true });

const context = await browser.newContext({ locale: 'en-GB' });
const alex = await context.newPage();
await alex.goto(`${server.url}/#lobby`);
await alex.getByLabel('Your name').fill('alex');
await alex.locator('#join .primary').click();
await alex.locator('.dot.connected').waitFor();
for (const room of ['garden', 'workshop']) await post(server.url, room, 'mira', 'Hello');
for (const [name, text] of talk) {
  const page = name === 'alex' ? alex : crowd.find((_, i) => ['mira', 'Jonas', '李雷', 'amina'][i] === name);
  await page.locator('#text').fill(text);
  await page.keyboard.press('Enter');
  await page.locator('.message.own', { hasText: text.slice(-12).replace(/\n?```$/, '') }).last().waitFor();
}
for (const [shot, width, height, colorScheme] of shots) {
  await alex.setViewportSize({ width, height });
  await alex.emulateMedia({ colorScheme });
  await alex.reload();
  await alex.locator('.message').nth(talk.length - 1).waitFor();
  await alex.locator('.rooms li').nth(2).waitFor({ state: 'attached' });
  await alex.screenshot({ path: `${target}/${shot}.png` });
  if (shot === 'phone' || shot === 'narrow') {
    await alex.locator('#menu').click();
    await alex.locator('#side').screenshot({ path: `${target}/${shot}-side.png` });
    await alex.locator('#shade').click({ position: { x: width - 5, y: 200 } });
  }
}
await browser.close();
await server.stop();
