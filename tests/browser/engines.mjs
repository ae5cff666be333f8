// Chromium, Firefox and WebKit behind one interface: WebDriver, spoken over HTTP, or over Marionette where Firefox has it built in.
import { readFile, writeFile } from 'node:fs/promises';
import { existsSync, readdirSync } from 'node:fs';
import { connect } from 'node:net';
import path from 'node:path';
import { freePort, request, scratch, service, until, within } from '../common/support.mjs';

const COMMANDS = {
  Navigate: ['POST', 'url'], Refresh: ['POST', 'refresh'], ExecuteScript: ['POST', 'execute/sync'], FindElement: ['POST', 'element'],
  ElementClick: ['POST', 'element/{id}/click'], ElementSendKeys: ['POST', 'element/{id}/value'], PerformActions: ['POST', 'actions'],
  NewWindow: ['POST', 'window/new'], SwitchToWindow: ['POST', 'window'], GetWindowHandles: ['GET', 'window/handles'], CloseWindow: ['DELETE', 'window'],
};
const ELEMENT = 'element-6066-11e4-a52e-4f735466cecf'; // The standard's name for a reference to one.
const WEBKIT = '/usr/lib/x86_64-linux-gnu/webkit2gtk-4.1/MiniBrowser';

/** Engines that start with a test and end with it, each with a profile of its own. */
export const engines = {
  chromium: (t) => overHttp(t, 'chromedriver', {}, {
    'goog:chromeOptions': { binary: process.env.CHROMIUM ?? '/usr/bin/chromium', args: ['--headless=new', '--no-sandbox', '--disable-gpu'] },
  }),
  firefox: overMarionette,
  async webkit(t) {
    const folder = scratch();
    const display = service(t, 'Xvfb', ['-displayfd', '1', '-screen', '0', '1280x800x24', '-nolisten', 'tcp']);
    const DISPLAY = `:${await within(display.lines.next(), 'a display')}`;
    const env = { ...process.env, DISPLAY, HOME: folder, XDG_RUNTIME_DIR: folder, GSK_RENDERER: 'cairo', WEBKIT_DISABLE_COMPOSITING_MODE: '1' };
    return overHttp(t, 'WebKitWebDriver', env, { 'webkitgtk:browserOptions': { binary: WEBKIT, args: ['--automation', '--geometry=1200x760'] } });
  },
};

async function overHttp(t, driver, env, capabilities) {
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  let end = () => {}; // Before the driver, without which its browser would stay.
  t.after(() => end());
  service(t, driver, [`--port=${port}`], { env: { ...process.env, ...env } });
  await until(async () => (await request(`${url}/status`)).status === 200, driver);
  const send = async (method, route, body) => {
    const answer = await request(url + route, { method, ...(method === 'POST' && { body: JSON.stringify(body ?? {}) }) });
    const { value } = answer.json();
    if (answer.status !== 200) throw new Error(`${route}: ${value.error}: ${value.message}`);
    return value;
  };
  const { sessionId } = await send('POST', '/session', { capabilities: { alwaysMatch: capabilities } });
  end = () => send('DELETE', `/session/${sessionId}`);
  return browserOf((command, parameters = {}) => {
    const [method, route] = COMMANDS[command];
    return send(method, `/session/${sessionId}/${route.replace('{id}', parameters.id)}`, parameters);
  });
}

async function overMarionette(t) {
  const profile = scratch();
  await writeFile(path.join(profile, 'user.js'), 'user_pref("marionette.port", 0); user_pref("intl.accept_languages", "en-GB");');
  service(t, 'firefox-esr', ['--marionette', '--headless', '--no-remote', '--profile', profile], { env: { ...process.env, HOME: profile } });
  const told = path.join(profile, 'MarionetteActivePort');
  const port = await until(async () => Number(await readFile(told, 'utf8')), 'Firefox', 90_000);
  const socket = connect(port, '127.0.0.1');
  t.after(() => socket.destroy());
  const waiting = new Map();
  let buffer = Buffer.alloc(0);
  let last = 0;
  // Each message is its length in bytes, a colon, and JSON.
  socket.on('data', (data) => {
    buffer = Buffer.concat([buffer, data]);
    for (;;) {
      const start = buffer.indexOf(':') + 1;
      const end = start + Number(buffer.subarray(0, start - 1));
      if (!start || buffer.length < end) return;
      const message = JSON.parse(buffer.subarray(start, end));
      buffer = buffer.subarray(end);
      if (Array.isArray(message)) waiting.get(message[1])(message);
    }
  });
  const send = async (command, parameters = {}) => {
    const message = JSON.stringify([0, last += 1, `WebDriver:${command}`, parameters]);
    const answered = new Promise((resolve) => { waiting.set(last, resolve); });
    socket.write(`${Buffer.byteLength(message)}:${message}`);
    const [,, error, result] = await within(answered, command);
    if (error) throw new Error(`${command}: ${error.error}: ${error.message}`);
    return result && 'value' in result ? result.value : result;
  };
  await send('NewSession');
  return browserOf(send);
}

/** What a person does in the tab that is in front, and what they see there. */
function browserOf(send) {
  const element = async (selector) => (await send('FindElement', { using: 'css selector', value: selector }))[ELEMENT];
  const browser = {
    go: (url) => send('Navigate', { url }),
    reload: () => send('Refresh'),
    evaluate: (read, ...args) => send('ExecuteScript', { script: `return (${read}).apply(null, arguments)`, args }),
    click: async (selector) => send('ElementClick', { id: await element(selector) }),
    type: async (selector, text) => send('ElementSendKeys', { id: await element(selector), text }),
    press: (...keys) => send('PerformActions', {
      actions: [{ type: 'key', id: 'keys', actions: keys.flatMap((value) => [{ type: 'keyDown', value }, { type: 'keyUp', value }]) }],
    }),
    tabs: () => send('GetWindowHandles'),
    show: (handle) => send('SwitchToWindow', { handle }),
    close: () => send('CloseWindow'),
    async openTab(url) {
      const { handle } = await send('NewWindow', { type: 'tab' });
      await browser.show(handle);
      await browser.go(url);
      return handle;
    },
    /** Waits until `read`, run in the page, is true. */
    until: (read, ...args) => until(() => browser.evaluate(read, ...args), String(read)),
  };
  return browser;
}
