// What `cargo package` would publish: what a program that embeds a chat needs, and nothing else; and it builds from that alone.
import test from 'node:test';
import assert from 'node:assert/strict';
import { root, run } from '../common/support.mjs';

const cargo = (...args) => run('cargo', ['package', '--allow-dirty', '--locked', ...args], { cwd: root, patience: 300_000 });

test('the package holds only what belongs in it', async () => {
  const { code, stdout, stderr } = await cargo('--list');
  assert.equal(code, 0, stderr);
  const files = stdout.trim().split('\n');
  const belongs = /^(\.cargo_vcs_info\.json|Cargo\.(lock|toml|toml\.orig)|LICENSE|README\.md|src\/.+\.(rs|md|lua|service|txt)|www\/.+|tests\/steps\/[a-z0-9]+\.(rs|html))$/;
  assert.deepEqual(files.filter((file) => !belongs.test(file)), []);
  for (const needed of ['src/lib.rs', 'src/main.rs', 'src/guide/chatroom.service', 'www/index.html', 'tests/steps/step1.rs']) assert.ok(files.includes(needed), needed);
});

test('the package builds', async () => {
  const { code, stderr } = await cargo();
  assert.equal(code, 0, stderr);
});
