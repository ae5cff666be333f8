// The one place that starts servers and browsers for the tests: real ones, each on a free port and in a folder of its own.
import { chromium } from 'playwright-core';
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';

const binary = process.env.CHATROOM_BIN ?? new URL('../../target/release/chatroom', import.meta.url).pathname;
const executablePath = process.env.CHROMIUM ?? '/usr/bin/chromium';
const chromiumFlags = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync'];

/** Starts a server and waits for its first line. `kill()` is SIGKILL, `stop()` SIGTERM; both wait for its end. */
export async function startServer(options = [], listen = '127.0.0.1:0') {
  const child = spawn(binary, ['--listen', listen, ...options], { stdio: ['ignore', 'pipe', 'pipe'] });
  let complaints = '';
  child.stderr.on('data', (data) => { complaints += data; });
  const ended = new Promise((resolve) => child.once('close', resolve));
  const first = await Promise.race([
    new Promise((resolve) => createInterface({ input: child.stdout }).once('line', resolve)),
    ended.then((code) => { throw new Error(`the server ended with ${code}: ${complaints}`); }),
    new Promise((_, reject) => child.once('error', reject)),
  ]);
  const url = first.match(/^chatroom listening on (http:\S+)$/)[1];
  const signal = (name) => () => (child.kill(name), ended);
  return { url, address: new URL(url).host, stop: signal('SIGTERM'), kill: signal('SIGKILL') };
}

export const openBrowser = () => chromium.launch({ executablePath, headless: true, args: chromiumFlags });

export async function temporaryFolder() {
  const folder = await mkdtemp(path.join(tmpdir(), 'chatroom-browser-'));
  return { path: folder, remove: () => rm(folder, { recursive: true, force: true }) };
}

/** Posts as a program would, under a free name. */
export async function post(url, room, name, text) {
  const headers = { 'Content-Type': 'application/json' };
  const answer = await fetch(`${url}/chat/${encodeURIComponent(room)}`, { method: 'POST', headers, body: JSON.stringify({ name, text }) });
  if (!answer.ok) throw new Error(`the post was refused: ${answer.status} ${await answer.text()}`);
  return answer.json();
}
