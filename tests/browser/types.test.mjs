// The scripts of the page are plain JavaScript whose types are checked all the same.
import test from 'node:test';
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFile, readdir } from 'node:fs/promises';

const scripts = new URL('../../www/js/', import.meta.url);

test('the types of the scripts agree', () => {
  const compiler = new URL('node_modules/typescript/bin/tsc', import.meta.url).pathname;
  const options = '--allowJs --checkJs --noEmit --strict --noImplicitAny false --target esnext --module esnext --moduleResolution bundler --lib esnext,dom,dom.iterable --types';
  const files = [new URL('types.d.ts', import.meta.url), new URL('main.js', scripts)].map(({ pathname }) => pathname);
  const { status, stdout } = spawnSync(process.execPath, [compiler, ...options.split(' '), '', ...files], { encoding: 'utf8' });
  assert.equal(status, 0, stdout);
});

test('no script writes HTML, and each has less than 400 lines', async () => {
  for (const name of await readdir(scripts)) {
    const source = await readFile(new URL(name, scripts), 'utf8');
    assert.doesNotMatch(source, /innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function/, name);
    assert.ok(source.split('\n').length <= 400, name);
  }
});

test('the state of the rooms is changed by functions of its own module alone', async () => {
  const changes = /\b(?:state|chat|current\(\))(?:\.\w+)+ (?:[-+|&?]*=)(?!=)|\b(?:chat|state)\.\w+\.(?:push|set|add|delete|clear)\(|Object\.assign\((?:state|chat|current\(\))/;
  // What is pending belongs to the network, which sends it.
  const pending = /chat\.pending/;
  for (const name of await readdir(scripts)) {
    const lines = (await readFile(new URL(name, scripts), 'utf8')).split('\n');
    if (name !== 'state.js') assert.deepEqual(lines.filter((line) => changes.test(line) && !(name === 'network.js' && pending.test(line))), [], name);
  }
});
