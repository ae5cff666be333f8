// The README as a newcomer follows it: in a fresh copy of the project, every command block that can run, in order and verbatim.
import test from 'node:test';
import assert from 'node:assert/strict';
import { cpSync, existsSync, mkdirSync } from 'node:fs';
import path from 'node:path';
import { launch, root, run, scratch, target, within } from '../common/support.mjs';
import { blocks, readme } from './readme.mjs';

/** Blocks that run elsewhere: this test is part of the first, and `static.test.mjs` runs the second. */
const elsewhere = (block) => block === 'tests/run\n' || block.includes('crt-static');
const startsServer = (block) => /^(cargo run|target\/release\/chatroom(?!.*--check))/m.test(block);
const streams = (block) => /curl -N/.test(block);

test('every command block runs as it is written', async (t) => {
  const checkout = await freshCopy(t);
  const shell = await ownNetwork(t);
  let server;
  const stop = async () => server && within(endGroup(server), 'the server to end');
  t.after(stop);
  const tried = [];
  for (const block of blocks('sh').filter((block) => !elsewhere(block))) {
    tried.push(block);
    if (startsServer(block)) await stop();
    const program = launch(shell.command, [...shell.args, 'bash', '-eo', 'pipefail', '-c', block], { cwd: checkout, env: shell.env, detached: true });
    if (startsServer(block)) {
      await shows(program, block, /^chatroom listening on http:\/\/127\.0\.0\.1:8080$/);
      server = program;
      // The message that the backup must contain.
      if (block.includes('--data data')) await shell.run(`curl -sS -d kept -H 'Content-Type: text/plain' 'localhost:8080/chat?name=bot'`);
      if (block.includes('--data restored')) assert.match(await shell.run('curl -sS localhost:8080/chat/lobby/messages'), /"text":"kept"/);
    } else if (streams(block)) {
      await shows(program, block, /^event: chat-room-connected$/);
      await endGroup(program);
    } else {
      assert.equal(await within(program.ended, block), 0, `${block}${program.stderr}`);
      assert.doesNotMatch(program.stdout, /"error":/, block);
    }
  }
  assert.ok(tried.length >= 10 && tried.some(startsServer) && tried.some(streams), `${tried.length} blocks`);
});

test('what it links to and shows is there', () => {
  const links = [...readme.matchAll(/\]\(([^)#]+)\)/g)].map(([, link]) => link).filter((link) => !link.includes('://'));
  const named = [...readme.matchAll(/`((?:tests|src|www)\/[\w./-]+)`/g)].map(([, file]) => file);
  assert.ok(links.length > 1);
  for (const file of [...links, ...named]) assert.ok(existsSync(path.join(root, file)), file);
  const headings = [...readme.matchAll(/^#+ (.*)$/gm)].map(([, heading]) => heading.toLowerCase().replaceAll(' ', '-').replaceAll(/[^\w-]/g, ''));
  for (const [, anchor] of readme.matchAll(/\]\(#([^)]+)\)/g)) assert.ok(headings.includes(anchor), anchor);
});

/** The project's files as they are now, in a folder of their own, with its dependencies already built. */
async function freshCopy(t) {
  const folder = scratch(t);
  const { code, stdout, stderr } = await run('git', ['ls-files', '-co', '--exclude-standard', '-z'], { cwd: root });
  assert.equal(code, 0, stderr);
  for (const file of stdout.split('\0').filter((file) => file && existsSync(path.join(root, file)))) {
    mkdirSync(path.dirname(path.join(folder, file)), { recursive: true });
    cpSync(path.join(root, file), path.join(folder, file));
  }
  cpSync(path.join(target, 'release'), path.join(folder, 'target/release'), { recursive: true, preserveTimestamps: true });
  return folder;
}

/** A loopback network of its own, where port 8080 is free whatever else runs on this machine. */
async function ownNetwork(t) {
  const ways = [['--map-root-user', '--net'], ['--net']];
  for (const way of ways) {
    const holder = launch('unshare', [...way, 'sh', '-c', 'ip link set lo up && echo ready && exec sleep 1800']);
    t.after(() => holder.kill('SIGKILL'));
    if ((await within(holder.lines.next(), 'a network')) !== 'ready') continue;
    const command = 'nsenter';
    const args = ['--target', `${holder.child.pid}`, '--net', ...(way.length > 1 ? ['--user', '--preserve-credentials'] : [])];
    const env = { ...process.env };
    for (const name of Object.keys(env)) if (/^(CARGO_TARGET_DIR$|CHATROOM_|NODE_TEST)/.test(name)) delete env[name];
    return {
      command, args, env,
      async run(line) {
        const { code, stdout, stderr } = await run(command, [...args, 'bash', '-c', line], { env });
        assert.equal(code, 0, stderr);
        return stdout;
      },
    };
  }
  throw new Error('this test needs a network namespace (unshare --net), which may not be made here');
}

/** Waits for a line of output, which a build may precede. */
async function shows(program, block, line) {
  for (;;) {
    const said = await within(program.lines.next(), block, 400_000);
    assert.notEqual(said, undefined, `${block}ended: ${program.stderr}`);
    if (line.test(said)) return;
  }
}

function endGroup(program) {
  try {
    process.kill(-program.child.pid, 'SIGTERM');
  } catch {
    // It has already ended.
  }
  return program.ended;
}
