// Everyone: hostile text, small screens, languages, dark rooms, screen readers, browsers that forbid things.
import test, { after, before } from 'node:test';
import assert from 'node:assert/strict';
import { readFile, readdir } from 'node:fs/promises';
import path from 'node:path';
import { PARTS, contentOf } from './pack.mjs';
import { clean, connected, openBrowser, person, post, settings, shows, startServer, until, violations, write } from './support.mjs';

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

const hostile = [
  '<img src=x onerror="window.ran = true">', '<script>window.ran = true</script>', '"><svg onload=alert(1)>',
  'javascript:window.ran=true', '[x](javascript:alert(1))', 'data:text/html,<script>alert(1)</script>',
  'https://good.example/\u202egpj.exe', '\u202etxt.esrever \u2066', '\u2028\u2029\u0000', 'https://x.example/"onmouseover="alert(1)',
];

test('hostile text is shown as text: no script runs, no policy is violated, links lead where they say', async () => {
  const ada = await person(browser, server.url, 'ada', { room: 'hostile' });
  await ada.evaluate(() => {
    window.violations = [];
    document.addEventListener('securitypolicyviolation', (event) => window.violations.push(event.violatedDirective));
  });
  for (const text of hostile) await post(server.url, 'hostile', '<b>bot</b>', text);
  await shows(ada, hostile);
  assert.equal(await ada.evaluate(() => window.ran), undefined);
  assert.deepEqual(await ada.evaluate(() => window.violations), []);
  assert.equal(await ada.locator('#log .text :is(img, script, svg, b)').count(), 0);
  const links = await ada.locator('#log a').evaluateAll((nodes) => nodes.map(({ href, textContent, rel, target }) => [href, textContent, rel, target]));
  const safe = ['noopener noreferrer', '_blank'];
  assert.deepEqual(links, [['https://good.example/', 'https://good.example/', ...safe], ['https://x.example/', 'https://x.example/', ...safe]]);
  // Each text is isolated, so that an override in one does not turn what follows it.
  const shown = await ada.locator('#log .text').evaluateAll((nodes) => nodes.map((node) => [node.dir, getComputedStyle(node).unicodeBidi]));
  assert.ok(shown.every(([dir, bidi]) => dir === 'auto' && /isolate|plaintext/.test(bidi)));
  await clean(ada);
});

const sizes = { desktop: { width: 1180, height: 760 }, phone: { width: 390, height: 780 }, narrow: { width: 320, height: 480 } };
for (const [size, colorScheme] of [['desktop', 'light'], ['desktop', 'dark'], ['phone', 'light'], ['narrow', 'dark']]) {
  test(`axe-core finds nothing to object to: ${size}, ${colorScheme}`, async () => {
    const room = `axe-${size}-${colorScheme}`;
    const ada = await person(browser, server.url, 'ada', { room, colorScheme, viewport: sizes[size], reducedMotion: 'reduce' });
    await write(ada, `see https://a.example and \`code\`\n- a list\n${'line\n'.repeat(30)}`);
    for (const name of ['bob', 'Cleo', '李雷', 'd4n', 'éva', 'zoë']) await post(server.url, room, name, name === 'bob' ? 'hello ada' : 'hello\n```\nblock\n```');
    await ada.locator('.message').nth(6).waitFor();
    await ada.context().route('**/chat/*', (route) => (route.request().method() === 'POST' ? route.fulfill({ status: 413, json: { error: 'too-large', message: 'Too long.' } }) : route.continue()));
    await write(ada, 'refused');
    await ada.locator('#pending .failed').waitFor();
    assert.deepEqual(await violations(ada), []);
    for (const panel of ['here', 'menu']) {
      if (!(await ada.locator(`#${panel}`).isVisible())) continue;
      await ada.locator(`#${panel}`).click();
      assert.deepEqual(await violations(ada), [], panel);
      await ada.keyboard.press('Escape');
    }
    await ada.locator('#scroller').press('Enter');
    await ada.keyboard.press('Enter');
    await ada.locator('#menu-of-message').waitFor();
    assert.deepEqual(await violations(ada), [], 'the menu of a message');
    await ada.keyboard.press('Escape');
    await ada.locator('#text').fill('');
    await ada.locator('#text').pressSequentially('@');
    await ada.getByRole('option').first().waitFor();
    assert.deepEqual(await violations(ada), [], 'names');
    await ada.locator('#text').fill('x'.repeat(5000));
    await ada.locator('#split').waitFor();
    assert.deepEqual(await violations(ada), [], 'too long');
    await ada.locator('#text').fill('');
    await settings(ada);
    assert.deepEqual(await violations(ada), [], 'settings');
    await ada.keyboard.press('Escape');
    const panel = async () => (await ada.locator('#new-private').isVisible()) || ada.locator('#menu').click();
    await panel();
    await ada.locator('#new-private').click();
    await ada.getByLabel('Label').fill('den');
    assert.deepEqual(await violations(ada), [], 'a private room is asked for');
    await ada.keyboard.press('Enter');
    await ada.locator('#room-title', { hasText: 'den' }).waitFor();
    await connected(ada);
    assert.deepEqual(await violations(ada), [], 'a private room');
    await panel();
    await ada.getByRole('button', { name: 'Leave 🔒 den' }).press('Enter');
    await ada.getByRole('button', { name: 'Leave', exact: true }).waitFor();
    assert.deepEqual(await violations(ada), [], 'leaving it');
    await ada.keyboard.press('Enter');
    await (await settings(ada)).locator('#rename').click();
    await ada.locator('#join').waitFor();
    assert.deepEqual(await violations(ada), []);
    await clean(ada);
  });
}

test('every name has a colour with at least 4.5:1 on its grounds, in both themes', async () => {
  const ada = await person(browser, server.url, 'ada', { room: 'colours' });
  await post(server.url, 'colours', 'bot', 'hello');
  await ada.locator('.heading .name').waitFor();
  for (const colorScheme of ['light', 'dark']) {
    await ada.emulateMedia({ colorScheme });
    const worst = await ada.evaluate(() => {
      const pen = new OffscreenCanvas(1, 1).getContext('2d', { willReadFrequently: true });
      const luminance = (colour) => {
        pen.fillStyle = colour;
        pen.fillRect(0, 0, 1, 1);
        const [r, g, b] = [...pen.getImageData(0, 0, 1, 1).data].map((value) => (value / 255 <= 0.04045 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
      };
      const contrast = (a, b) => (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
      const [name, face] = ['.heading .name', '.message .avatar'].map((selector) => document.querySelector(selector));
      const ground = luminance(getComputedStyle(document.body).backgroundColor);
      let least = 21;
      for (let hue = 0; hue < 360; hue += 1) {
        name.closest('.message').style.setProperty('--hue', hue);
        face.style.setProperty('--hue', hue);
        const style = getComputedStyle(face);
        least = Math.min(least, contrast(luminance(getComputedStyle(name).color), ground), contrast(luminance(style.color), luminance(style.backgroundColor)));
      }
      return least;
    });
    assert.ok(worst >= 4.5, `${colorScheme}: ${worst}`);
  }
  await clean(ada);
});

test('the dark theme is dark', async () => {
  const ada = await person(browser, server.url, 'ada', { room: 'dark', colorScheme: 'dark' });
  const [r, g, b] = (await ada.evaluate(() => getComputedStyle(document.body).backgroundColor)).match(/\d+/g).map(Number);
  assert.ok(r + g + b < 150);
  await clean(ada);
});

test('on a phone nothing is wider than the screen, and the side panel opens, closes and keeps the focus', async () => {
  const ada = await person(browser, server.url, 'ada', { room: 'phone', viewport: { width: 320, height: 568 }, hasTouch: true, isMobile: true });
  await write(ada, `https://a.example/${'long'.repeat(60)}`, 'x'.repeat(300), `\`\`\`\n${'code '.repeat(60)}\n\`\`\``);
  await ada.locator('.message').nth(2).waitFor();
  assert.equal(await ada.evaluate(() => document.documentElement.scrollWidth), 320);
  assert.equal(await ada.locator('#scroller').evaluate((node) => node.scrollWidth <= node.clientWidth), true);
  assert.ok(await ada.locator('#rooms').isHidden());
  await ada.locator('#menu').tap();
  await ada.locator('#rooms').waitFor();
  await until(ada, () => (document.activeElement.closest('#side') ?? document.activeElement).id, 'side');
  await ada.keyboard.press('Escape');
  await ada.locator('#rooms').waitFor({ state: 'hidden' });
  assert.equal(await ada.evaluate(() => document.activeElement.id), 'menu');
  await clean(ada);
});

test('by keyboard alone: a name, a message, a room, older messages', async () => {
  for (let n = 0; n < 60; n += 1) await post(server.url, 'keys', 'bot', `m${n}\n\n`);
  const ada = await person(browser, server.url, '', { room: 'keys' });
  const active = () => document.activeElement.id;
  await until(ada, active, 'name');
  await ada.keyboard.type('ada');
  await ada.keyboard.press('Enter');
  await until(ada, active, 'text');
  await ada.keyboard.type('hello');
  await ada.keyboard.press('Enter');
  await ada.locator('.message.own').waitFor();
  await until(ada, () => document.querySelectorAll('#pending li').length, 0);
  await ada.keyboard.press('Shift+Tab');
  await until(ada, active, 'scroller');
  // The browser scrolls smoothly: what is pressed on the way would meet a page that still moves up.
  await ada.evaluate(() => { window.arrived = new Promise((resolve) => { document.getElementById('scroller').addEventListener('scrollend', resolve, { once: true }); }); });
  await ada.keyboard.press('Home');
  await ada.evaluate(() => window.arrived);
  await ada.evaluate(async () => {
    const { scrollTop } = document.getElementById('scroller');
    for (let still = 0, top = scrollTop; still < 10; still += 1) {
      await new Promise(requestAnimationFrame);
      const now = document.getElementById('scroller').scrollTop;
      if (now !== top) still = 0;
      top = now;
    }
  });
  await ada.locator('#jump').waitFor();
  await ada.keyboard.press('Tab');
  await until(ada, active, 'jump');
  await ada.keyboard.press('Enter');
  await ada.locator('#jump').waitFor({ state: 'hidden' });
  await until(ada, active, 'text');
  await clean(ada);
});

test('Chinese, after the browser\'s language', async () => {
  const own = await startServer();
  const ada = await person(browser, own.url, '李雷', { room: '中文', locale: 'zh-CN' });
  assert.equal(await ada.evaluate(() => document.documentElement.lang), 'zh-Hans');
  assert.equal(await ada.locator('#status').textContent(), '已连接');
  await write(ada, '大家好');
  await shows(ada, ['大家好']);
  await ada.locator('.day', { hasText: '今天' }).waitFor();
  const words = await ada.evaluate(() => document.getElementById('app').innerText.replace(/#/g, ''));
  assert.doesNotMatch(words.replace('Shift', ''), /[A-Za-z]/);
  await clean(ada);
  await own.stop();
});

test('in English where the words of another language do not come', async () => {
  const watch = (context) => context.route('**/words.*', (route) => route.abort());
  const ada = await person(browser, server.url, 'ada', { room: 'no-words', locale: 'zh-CN', watch });
  assert.equal(await ada.evaluate(() => document.documentElement.lang), 'en');
  assert.equal(await ada.locator('#status').textContent(), 'Connected');
  await clean(ada);
});

test('where the browser has no space left, a draft stays for as long as the page is open', async () => {
  const ada = await person(browser, server.url, 'ada', { room: 'full' });
  await ada.locator('#text').fill('an earlier draft');
  await ada.evaluate(() => {
    for (let filling = 'x'.repeat(1 << 20), n = 0; filling; n += 1) {
      try {
        localStorage[`filling ${n}`] = filling;
      } catch {
        filling = filling.slice(0, filling.length / 2);
      }
    }
  });
  await ada.locator('#text').fill(`a later draft${'!'.repeat(100)}`);
  for (const room of ['elsewhere', 'full']) {
    await ada.evaluate((fragment) => { location.hash = fragment; }, room);
    await ada.locator('#room-title', { hasText: room }).waitFor();
  }
  assert.match(await ada.locator('#text').inputValue(), /^a later draft!+$/);
  await clean(ada);
});

test('it works where the browser refuses storage', async () => {
  const init = () => {
    for (const area of ['localStorage', 'sessionStorage']) Object.defineProperty(window, area, { get() { throw new DOMException('no', 'SecurityError'); } });
  };
  const ada = await person(browser, server.url, 'ada', { room: 'no-storage', init });
  await write(ada, 'hello');
  await shows(ada, ['hello']);
  await clean(ada);
});

test('without JavaScript it says so', async () => {
  const context = await browser.newContext({ javaScriptEnabled: false });
  const page = await context.newPage();
  await page.goto(server.url);
  await page.locator('.no-script', { hasText: 'needs JavaScript' }).waitFor();
  assert.ok(await page.locator('#app').isHidden());
  await context.close();
});

test('every part is served as it was packed last, and in whole; together they weigh at most 32,000 bytes packed and 95,000 plain', async () => {
  const www = new URL('../../www/', import.meta.url);
  const names = (await readdir(www, { recursive: true, withFileTypes: true })).filter((entry) => entry.isFile())
    .map((entry) => path.relative(www.pathname, path.join(entry.parentPath, entry.name))).filter((name) => !name.startsWith('packed'));
  assert.deepEqual(Object.values(PARTS).flat().sort(), names.sort());
  let [plain, packed] = [0, 0];
  for (const part of Object.keys(PARTS)) {
    const content = contentOf(part);
    const bytes = [];
    for (const encoding of ['identity', 'gzip']) {
      const answer = await fetch(`${server.url}/${part === 'index.html' ? '' : part}`, { headers: { 'Accept-Encoding': encoding } });
      assert.deepEqual([answer.status, Buffer.from(await answer.arrayBuffer())], [200, content], part);
      bytes.push(Number(answer.headers.get('content-length')));
    }
    // A comment is whole lines, each with its own signs, or the end of one.
    if (/css|js$/.test(part)) assert.ok(!/^\/[/*]|\*\/$| \/\/ /m.test(content), part);
    plain += bytes[0];
    packed += bytes[1];
  }
  assert.ok(plain <= 95_000 && packed <= 32_000, `${plain} bytes, ${packed} packed`);
  // From the files as they are, the page works, too: a module that is not announced would be found only when the one that imports it has come.
  const index = await readFile(new URL('index.html', www), 'utf8');
  const modules = [...index.matchAll(/(?:modulepreload" href|script type="module" src)="([^"]+)"/g)].map(([, module]) => module);
  const later = ['js/words.zh-Hans.js', 'notify.js'];
  assert.deepEqual([...modules, ...later].sort(), names.filter((name) => name.endsWith('.js')).sort());
});

test('a reader in English loads no Chinese, and at most 32 KB', async () => {
  const context = await browser.newContext({ locale: 'en-GB' });
  const page = await context.newPage();
  const loaded = new Map();
  page.on('response', (response) => {
    const { pathname } = new URL(response.url());
    if (pathname === '/' || /\.(css|js)$/.test(pathname)) loaded.set(pathname, Number(response.headers()['content-length']));
  });
  await page.goto(server.url);
  await connected(page);
  await until(page, () => performance.now() > 1500, true); // What comes late would have come by then.
  assert.ok(loaded.has('/js/main.js') && !loaded.has('/js/words.zh-Hans.js'));
  const bytes = [...loaded.values()].reduce((sum, length) => sum + length);
  assert.ok(bytes > 20 * 1024 && bytes <= 32 * 1024, `${bytes} bytes`);
  await context.close();
});
