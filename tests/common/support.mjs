// What both JavaScript suites share: it starts programs, each with a folder and free ports of its own, and talks HTTP to them.
// Every wait has a time limit, and every program ends with the test that started it, or with this process.
import { createRequire } from 'node:module';
import { createServer } from 'node:net';
import { execFileSync, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import http from 'node:http';
import https from 'node:https';
import { setTimeout as pause } from 'node:timers/promises';

export const root = path.resolve(import.meta.dirname, '../..');
export const target = path.resolve(root, process.env.CARGO_TARGET_DIR ?? 'target');
export const binary = process.env.TEST_BIN ?? path.join(target, 'release/chatroom');
/** Python with the packages that the tests need, as `tests/run` installs them. */
export const python = process.env.TEST_PYTHON ?? path.join(target, 'venv/bin/python');
// They are for the tests: a server would warn of them.
for (const name of ['BIN', 'PYTHON', 'FUZZ_SECONDS']) delete process.env[`CHATROOM_${name}`];
const PATIENCE = 30_000;

/** Programs under way. None outlives this process, whether it ends by itself or is told to. */
const children = new Set();
const folders = [];
process.once('exit', () => {
  for (const child of children) child.kill('SIGKILL');
  // Not with the test: a program that it has told to end may still write.
  for (const folder of folders) {
    try {
      rmSync(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
    } catch {
      // What is left lies among temporary files, and says nothing about the server.
    }
  }
});
for (const [signal, code] of [['SIGINT', 130], ['SIGTERM', 143]]) process.once(signal, () => process.exit(code));

/** A temporary folder, removed at the end of this process. */
export function scratch() {
  const folder = mkdtempSync(path.join(tmpdir(), 'chatroom-test-'));
  folders.push(folder);
  return folder;
}

/** Waits for a promise with a time limit. */
export async function within(promise, what, patience = PATIENCE) {
  const stop = new AbortController();
  const late = pause(patience, undefined, { signal: stop.signal }).then(() => { throw new Error(`gave up waiting for ${what}`); });
  try {
    return await Promise.race([promise, late]);
  } finally {
    stop.abort();
    late.catch(() => {});
  }
}

/** Polls until the answer is truthy; an error counts as not yet. */
export async function until(ask, what, patience = PATIENCE) {
  const deadline = Date.now() + patience;
  for (;;) {
    const answer = await Promise.resolve().then(ask).catch(() => undefined);
    if (answer) return answer;
    if (Date.now() > deadline) throw new Error(`gave up waiting for ${what}`);
    await pause(20);
  }
}

/** Runs a program until it ends; a failing exit code is not an error. One that takes too long is killed. */
export async function run(command, args = [], options = {}) {
  const program = launch(command, args, options);
  try {
    const code = await within(program.ended, `${command} to end`, options.patience);
    return { code, stdout: program.stdout, stderr: program.stderr };
  } catch (error) {
    program.child.kill('SIGKILL');
    throw error;
  }
}

/** Starts a program. `lines` are the lines of its stdout as they arrive; `ended` resolves with the exit code or the signal's name. */
export function launch(command, args = [], { input, ...options } = {}) {
  const child = spawn(command, args, { stdio: [input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'], ...options });
  const program = { child, stdout: '', stderr: '', lines: new Lines() };
  children.add(child);
  child.once('exit', () => children.delete(child));
  program.kill = (signal = 'SIGTERM') => {
    for (const handle of [child, child.stdout, child.stderr]) handle.ref();
    child.kill(signal);
    return program.ended;
  };
  child.stdout.on('data', (data) => { program.stdout += data; });
  child.stderr.on('data', (data) => { program.stderr += data; });
  createInterface({ input: child.stdout }).on('line', (line) => program.lines.push(line)).on('close', () => program.lines.end());
  if (input !== undefined) child.stdin.end(input);
  program.ended = new Promise((resolve, reject) => {
    child.once('error', (error) => reject(new Error(`cannot start ${command}: ${error.message}`)));
    child.once('close', (code, signal) => resolve(signal ?? code));
  });
  program.ended.catch(() => {});
  return program;
}

/** Freezes a program, and waits until each of its threads stands still. */
export function freeze(child) {
  child.kill('SIGSTOP');
  const threads = () => readdirSync(`/proc/${child.pid}/task`);
  const stands = (thread) => /^State:\s+T/m.test(readFileSync(`/proc/${child.pid}/task/${thread}/status`, 'utf8'));
  return until(() => threads().every(stands), 'the program to stand still');
}

/** Starts a program that ends with the test or, without one, with this process, which it does not keep from ending. */
export function service(t, command, args, { end = 'SIGTERM', ...options } = {}) {
  const program = launch(command, args, options);
  if (t) {
    t.after(() => within(program.kill(end), `${command} to end`).catch(() => program.kill('SIGKILL')));
  } else {
    for (const handle of [program.child, program.child.stdout, program.child.stderr]) handle.unref();
  }
  return program;
}

/** Starts the server as a service, and waits until it says where it listens. */
export async function startServer(t, options = [], { listen = '127.0.0.1:0', command = binary, before = [], ...more } = {}) {
  const server = service(t, command, [...before, '--listen', listen, ...options], more);
  const first = await within(Promise.race([server.lines.next(), server.ended.then(() => '')]), 'the server to start');
  const url = first?.match(/^chatroom listening on (http:\S+)$/)?.[1];
  if (!url) throw new Error(`the server did not start: ${first} ${server.stderr}`);
  return Object.assign(server, { url, port: Number(new URL(url).port) });
}

export async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** Posts a message. `via` holds the options of requests that go through a proxy. */
export function post(url, text, { name = 'bot', room = 'lobby', headers = {}, via = {} } = {}) {
  const body = JSON.stringify({ name, text });
  return request(`${url}/chat/${encodeURIComponent(room)}`, { method: 'POST', headers: { 'Content-Type': 'application/json', ...headers }, body, ...via });
}

/** Makes a request and reads the whole response. `address` is connected to instead of the URL's host; `localAddress` is connected from. */
export async function request(url, options = {}) {
  const response = await answer(url, options);
  let text = '';
  for await (const chunk of response.setEncoding('utf8')) text += chunk;
  return { status: response.statusCode, headers: response.headers, text, json: () => JSON.parse(text) };
}

function answer(url, { address, body, headers = {}, ...options } = {}) {
  const client = url.startsWith('https:') ? https : http;
  const to = address ? { lookup: (_, { all }, found) => (all ? found(null, [{ address, family: 4 }]) : found(null, address, 4)) } : {};
  return within(new Promise((resolve, reject) => {
    client.request(url, { agent: false, headers, ...options, ...to }, resolve).once('error', reject).end(body);
  }), `an answer from ${url}`);
}

/** Opens an event stream, with the `Accept` header that `EventSource` sends. */
export async function openStream(url, options = {}) {
  const response = await answer(url, { ...options, headers: { Accept: 'text/event-stream', ...options.headers } });
  const events = new Lines();
  let event = {};
  createInterface({ input: response }).on('line', (line) => {
    const [, field, value] = line.match(/^(\w+): ?(.*)$/) ?? [];
    if (field) event[field] = field === 'data' ? JSON.parse(value) : value;
    if (line === '' && event.event) events.push(event);
    if (line === '') event = {};
  }).on('error', () => events.end()).on('close', () => events.end());
  // A broken connection ends the stream too.
  response.on('error', () => events.end());
  return {
    status: response.statusCode,
    headers: response.headers,
    close: () => response.destroy(),
    /** The next event, or the next of the given kind; undefined once the stream has ended. */
    async next(kind, patience = PATIENCE) {
      for (;;) {
        const event = await within(events.next(), `an event ${kind ?? ''} from ${url}`, patience);
        if (!event || !kind || event.event === kind) return event;
      }
    },
  };
}

/** An unbounded queue: `next()` waits for the next line, and resolves with undefined once all were taken after the end. */
export class Lines {
  #arrived = [];
  #waiting = [];
  #ended = false;

  push(line) {
    const next = this.#waiting.shift();
    if (next) next(line);
    else this.#arrived.push(line);
  }

  end() {
    this.#ended = true;
    for (const next of this.#waiting.splice(0)) next(undefined);
  }

  next() {
    if (this.#arrived.length > 0) return Promise.resolve(this.#arrived.shift());
    if (this.#ended) return Promise.resolve(undefined);
    return new Promise((resolve) => this.#waiting.push(resolve));
  }
}

/** A self-signed certificate for a host name. */
export function selfSigned(folder, name) {
  const [key, certificate] = ['key.pem', 'certificate.pem'].map((file) => path.join(folder, file));
  execFileSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2', '-keyout', key,
    '-out', certificate, '-subj', `/CN=${name}`, '-addext', `subjectAltName=DNS:${name}`], { stdio: 'ignore' });
  return { key, certificate };
}

/** Starts the system's Chromium, driven by the Playwright of the page's tests. */
export async function chromium(...flags) {
  const { chromium: engine } = createRequire(new URL('../browser/package.json', import.meta.url))('playwright-core');
  const args = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update',
    '--disable-sync', ...flags];
  return engine.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', headless: true, args });
}
