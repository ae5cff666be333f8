// One evening in the room, the same in Chromium, Firefox and WebKit.
import test from 'node:test';
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { engines } from './engines.mjs';
import { post, request, scratch, startServer } from '../common/support.mjs';

const ENTER = '\uE007';
const texts = () => [...document.querySelectorAll('#log .text')].map((node) => node.textContent);

for (const [name, start] of Object.entries(engines)) {
  test(`${name}: join, send, reload, a restart of the server, tabs, scroll, menu, moderation`, async (t) => {
    const folder = scratch();
    writeFileSync(path.join(folder, 'password'), 'open sesame\n');
    const options = ['--data', path.join(folder, 'data'), '--message-rate', '0', '--moderator-password-file', path.join(folder, 'password')];
    const first = await startServer(t, options);
    const { url } = first;
    const browser = await start(t);
    const shows = (...expected) => browser.until((all) => {
      const shown = [...document.querySelectorAll('#log .text')].map((node) => node.textContent);
      return JSON.stringify(shown) === JSON.stringify(all) && document.getElementById('pending').hidden;
    }, expected);
    const connected = () => browser.until(() => Boolean(document.querySelector('.dot.connected')));
    const focused = () => browser.evaluate(() => document.activeElement.id);

    await browser.go(`${url}/#lobby`);
    await connected();
    await browser.type('#name', `ada${ENTER}`);
    await browser.until(() => document.getElementById('own-name').textContent === 'ada');
    await browser.type('#text', `by key${ENTER}`);
    await browser.type('#text', 'by button');
    await browser.click('#send');
    await shows('by key', 'by button');
    assert.equal(await focused(), 'text');
    await browser.press(...'by key after button', ENTER);
    await shows('by key', 'by button', 'by key after button');
    await browser.click('#room-title');
    await browser.press(...'from anywhere', ENTER);
    const said = ['by key', 'by button', 'by key after button', 'from anywhere'];
    await shows(...said);

    for (let n = 0; n < 3; n += 1) {
      await browser.reload();
      await connected();
      await shows(...said);
      said.push(`after reload ${n}`);
      await browser.type('#text', said.at(-1) + ENTER);
      await shows(...said);
    }

    await first.kill();
    await browser.until(() => document.getElementById('status').textContent === 'Reconnecting');
    said.push('during the restart');
    await browser.type('#text', said.at(-1) + ENTER);
    await startServer(t, options, { listen: new URL(url).host });
    await shows(...said);
    const { messages } = (await request(`${url}/chat/lobby/messages`)).json();
    assert.deepEqual(messages.map(({ member }) => member), said.map(() => true), 'all by a member');

    const tabs = await browser.tabs();
    for (let n = 0; n < 3; n += 1) tabs.push(await browser.openTab(`${url}/#lobby`));
    await connected();
    await shows(...said);
    for (const tab of tabs) {
      await browser.show(tab);
      said.push(`from tab ${tabs.indexOf(tab)}`);
      await browser.type('#text', said.at(-1) + ENTER);
      await shows(...said);
    }
    for (const tab of tabs.slice(1)) {
      await browser.show(tab);
      await browser.close();
    }
    await browser.show(tabs[0]);
    await shows(...said);

    for (let n = 0; n < 60; n += 1) await post(url, `m${n}`);
    await browser.until(() => document.querySelector('#log .message:last-child .text').textContent === 'm59');
    await browser.evaluate(() => { document.getElementById('scroller').scrollTop = 0; });
    await browser.until(() => !document.getElementById('jump').hidden);
    await post(url, 'unseen');
    await browser.until(() => document.getElementById('jump').textContent === '1 new message');
    await browser.click('#jump');
    await browser.until(() => document.getElementById('jump').hidden);

    const menuOf = async (item) => {
      await browser.evaluate(() => [...document.querySelectorAll('.message .more')].at(-1).click());
      await browser.evaluate((label) => [...document.querySelectorAll('#menu-of-message [role=menuitem]')].find((node) => node.textContent === label).click(), item);
    };
    await menuOf('Reply');
    assert.equal(await browser.evaluate(() => document.getElementById('text').value), '> bot: unseen\n');
    await browser.evaluate(() => document.getElementById('moderate').click());
    await browser.type('dialog input', `open sesame${ENTER}`);
    await browser.until(() => !document.getElementById('moderator').hidden);
    await menuOf('Remove…');
    await browser.click('dialog .primary');
    await browser.until(() => document.querySelector('#log > :last-child').textContent === 'A message was removed.');
    assert.ok(!(await browser.evaluate(texts)).includes('unseen'));
  });
}
