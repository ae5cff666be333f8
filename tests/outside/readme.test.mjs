// The README and the guide as a newcomer follows them: in a fresh copy of the project, every command block that can run, in order and verbatim.
import test from 'node:test';
import assert from 'node:assert/strict';
import { cpSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { binary, launch, root, run, scratch, target, until, within } from '../common/support.mjs';
import { block, blocks, pages, table } from './readme.mjs';

/** Where a newcomer puts a name, this one: it leads to this machine, and Caddy makes its certificate by itself. */
const host = 'chat.localhost';
const filledIn = (text) => text.replaceAll('chat.example.org', host);
/** Blocks that run elsewhere: this test is part of the first, and the second is built without optimization. */
const elsewhere = (block) => block === 'tests/run\n' || block.includes('--features redis');
const startsServer = (block) => /^(cargo run|target\/release\/chatroom(?!.*--check))/m.test(block);
const portOf = (block) => block.match(/--listen \S*?(\d+)(?=\s)/)?.[1] ?? '8080';
const streams = (block) => /curl -N/.test(block);

for (const [file, least] of [['README.md', 8], ['src/guide/http.md', 8], ['src/guide/operating.md', 8], ['src/guide/people.md', 1], ['src/guide/servers.md', 4]]) {
  test(`every command block of ${file} runs as it is written`, async (t) => {
    const checkout = await freshCopy(t);
    const shell = await ownMachine(t, checkout);
    const servers = new Map();
    const stop = async (port = '8080') => servers.has(port) && within(endGroup(servers.get(port)), 'the server to end');
    const start = (command) => {
      const inCheckout = `cd ${root}\n${command}`;
      return launch(shell.command, [...shell.args, 'bash', '-eo', 'pipefail', '-c', inCheckout], { env: shell.env, detached: true });
    };
    if (file.endsWith('servers.md')) await withRedis(t, checkout, shell);
    let tried = 0;
    for (const block of blocks('sh', file).filter((block) => !elsewhere(block)).map(filledIn)) {
      tried += 1;
      const port = portOf(block);
      if (startsServer(block)) await stop(port);
      const program = start(block);
      let listens = false;
      if (startsServer(block)) {
        await shows(program, block, new RegExp(`^chatroom listening on http://(127\\.0\\.0\\.1|0\\.0\\.0\\.0):${port}$`));
        servers.set(port, program);
      } else if (streams(block)) {
        await shows(program, block, /^event: chat-room-connected$/);
        listens = true;
      } else {
        assert.equal(await within(program.ended, block), 0, `${block}${program.stderr}`);
        assert.doesNotMatch(program.stdout, /"error":/, block);
      }
      await checks.find(([text]) => block.includes(text))?.[1]({ shell, port, start, stop, block, checkout, program });
      if (listens) await endGroup(program);
    }
    assert.ok(tried >= least, `${tried} blocks`);
    assert.equal(await shell.run(`git -c safe.directory='*' -C ${root} status --porcelain`), '', 'what the commands create is in .gitignore');
  });
}

/** What must be true after a block that contains a text. */
const checks = [
  ['--listen 8082', async ({ shell }) => {
    await shell.run(`curl -sSf --data-raw 'from one to the other' -H 'Content-Type: text/plain' -H 'Host: ${host}' 'localhost:8081/chat?name=bot'`);
    await until(async () => (await shell.run(`curl -sSf -H 'Host: ${host}' localhost:8082/chat/lobby/messages`)).includes('from one to the other'), 'the message');
  }],
  ['n=[1-8000]', ({ program }) => {
    const megabytes = [...program.stdout.matchAll(/^\w+ (\d+)$/gm)].map(([, bytes]) => `${(bytes / 1e6).toFixed(1)} MB`);
    assert.ok(pages['src/guide/operating.md'].includes(`take ${megabytes[0]} of memory and ${megabytes[1]} on the disk`), program.stdout);
  }],
  ['rm -rf /usr/local/bin/chatroom', ({ shell }) => shell.run('! ls -d /usr/local/bin/chatroom /etc/chatroom /etc/systemd/system/chatroom.service* 2>/dev/null')],
  ['tcp_retries2', async ({ shell }) => assert.equal(await shell.run('cat /proc/sys/net/ipv4/tcp_retries2'), '8\n')],
  ['name=parrot', ({ program }) => until(() => /"name":"parrot".*"text":"It is me\."/.test(program.stdout) && !program.stdout.includes('"error":'), 'its own message')],
  ['mv backup.new backup\n', async ({ shell, start, block, checkout }) => {
    // Made a second time, it has what was said since the first.
    await shell.run(`curl -sSf --data-raw later -H 'Content-Type: text/plain' -H 'Host: ${host}' 'localhost:8080/chat?name=bot'`);
    assert.equal(await within(start(block).ended, block), 0);
    // What systemd makes for the service; `deb.test.mjs` tests its recipe with systemd.
    await shell.run(`mkdir -p -m 700 /var/lib/private && cp -r ${checkout}/data /var/lib/private/chatroom && ln -s private/chatroom /var/lib/chatroom`);
  }],
  ['--data restored', async ({ shell }) => assert.match(await shell.run('curl -sS localhost:8080/chat/lobby/messages'), /"text":"kept".*"text":"later"/)],
  ['systemctl reload caddy', async ({ shell, start }) => {
    const caddy = start('caddy run --config /etc/caddy/Caddyfile');
    const page = await until(() => shell.run(`curl -skS https://${host}/`), 'Caddy');
    assert.match(page, /<!doctype html>/i);
    await endGroup(caddy);
  }],
  ['--user-header', async ({ shell, port }) => assert.match(await shell.run(`curl -sSf -H 'Remote-User: ann' -H 'Host: ${host}' localhost:${port}/me`), /"user":"ann","moderator":true/)],
  ['--trusted-proxy', ({ shell, port }) => shell.run(`curl -sSf --data-raw kept -H 'Content-Type: text/plain' -H 'Host: ${host}' 'localhost:${port}/chat?name=bot'`)],
  ['systemctl enable --now chatroom', async ({ shell, start, stop }) => {
    const verified = await shell.run('systemd-analyze verify --man=no /etc/systemd/system/chatroom.service 2>&1');
    assert.equal(verified, '');
    await stop();
    const unit = await shell.run('cat /etc/systemd/system/chatroom.service /etc/systemd/system/chatroom.service.d/proxy.conf');
    const settings = [...unit.matchAll(/^Environment=(.*)$/gm)].map(([, setting]) => setting);
    const [, command] = unit.match(/^ExecStart=(.*)$/m);
    const service = start(`env ${settings.join(' ').replaceAll('%S', '/var/lib')} ${command}`);
    await shows(service, command, /^chatroom listening on http:\/\/127\.0\.0\.1:8080$/);
    await shell.run(`curl -sSf -H 'Host: ${host}' localhost:8080/rooms`);
    await endGroup(service);
  }],
];

test('the README proxies as the guide does', () => {
  const caddy = block('caddy', '127.0.0.1:8080 {', 'src/guide/operating.md');
  assert.ok(block('sh', 'systemctl reload caddy', 'README.md').includes(caddy));
});

test('the figures are made by commands that run', async () => {
  const commands = blocks('console', 'src/guide/figures.md').flatMap((block) => [...block.matchAll(/^\$ (.*)$/gm)].map(([, command]) => command));
  const small = ['--rounds', '1', '--clients', '250', '--messages', '20'];
  // That they run is what counts here: optimizing as for figures would take minutes. In a folder of their own, since they are built with a program.
  const quick = { LTO: 'off', CODEGEN_UNITS: '16', OPT_LEVEL: '0' };
  const env = { ...process.env, CARGO_TARGET_DIR: path.join(target, 'figures') };
  for (const [setting, value] of Object.entries(quick)) env[`CARGO_PROFILE_BENCH_${setting}`] = value;
  assert.ok(commands.length > 5);
  const tried = async (command, ...more) => {
    const [program, ...args] = command.split(' ');
    assert.equal(program, 'cargo', command);
    const { code, stdout, stderr } = await run('cargo', [...args, ...small, ...more], { cwd: root, env, patience: 600_000 });
    assert.equal(code, 0, `${command}: ${stderr}`);
    assert.match(stdout, /^\| /m, command);
  };
  // The first builds what all need. The others mostly wait, so some run side by side, and must not build
  // what another is about to start.
  await tried(commands.shift());
  await Promise.all([1, 2, 3].map(async () => {
    while (commands.length > 0) await tried(commands.shift(), '--binary', binary);
  }));
});

test('each threat has a test, which exists', () => {
  const rows = table('Threats', 'src/guide/security.md');
  assert.ok(rows.length > 20);
  for (const [threat, , shownBy] of rows) {
    const spans = [...shownBy.matchAll(/`([^`]+)`/g)].map(([, span]) => span);
    const isFile = (span) => /^(src|tests)\//.test(span);
    let source;
    for (const span of spans) {
      if (isFile(span)) source = readFileSync(path.join(root, span), 'utf8');
      else assert.ok(source.includes(`fn ${span}(`) || source.includes(`test('${span}`), `${span}, for: ${threat}`);
    }
    assert.ok(spans.some((span) => !isFile(span)), threat);
  }
});

test('what the pages link to and name is there', () => {
  for (const [file, text] of Object.entries(pages)) {
    const prose = text.replaceAll(/^( *)```[\s\S]*?^\1```$/gm, '');
    const links = [...prose.matchAll(/\]\(([^)#]+)\)|^\[\w+\]: (.*)$/gm)].map(([, inline, definition]) => inline ?? definition).filter((link) => !link.includes('://'));
    for (const link of links) assert.ok(existsSync(path.join(root, path.dirname(file), link)), `${link} in ${file}`);
    for (const [, named] of prose.matchAll(/`((?:tests|src|www)\/[\w./-]+)`/g)) assert.ok(existsSync(path.join(root, named)), `${named} in ${file}`);
    // rustdoc follows the links that src/guide/mod.rs defines, and no others.
    if (file.startsWith('src/guide')) assert.doesNotMatch(prose, /\]\([\w./-]+\.md/, file);
    const headings = [...prose.matchAll(/^#+ (.*)$/gm)].map(([, heading]) => heading.toLowerCase().replaceAll(' ', '-').replaceAll(/[^\w-]/g, ''));
    for (const [, anchor] of prose.matchAll(/\]\(#([^)]+)\)/g)) assert.ok(headings.includes(anchor), `${anchor} in ${file}`);
  }
  // With -d, a text that begins with @ is the name of a file, which is sent.
  for (const [command] of Object.values(pages).join('').matchAll(/curl [^|]*/g)) assert.doesNotMatch(command, / (-d|--data|--data-ascii) /);
  const lines = pages['README.md'].split('\n').length;
  assert.ok(lines < 200, `the README has ${lines} lines`);
});

/** Redis with the guide's settings, and the program with its feature, as the tests of several servers have built it. */
async function withRedis(t, checkout, shell) {
  const servers = path.join(target, 'servers');
  const { code, stderr } = await run('cargo', ['test', '--locked', '--no-run', '--features', 'redis-tls', '--target-dir', servers, '--test', 'faults'], { cwd: root, patience: 600_000 });
  assert.equal(code, 0, stderr);
  cpSync(path.join(servers, 'debug/chatroom'), path.join(checkout, 'target/release/chatroom'));
  const folder = scratch();
  const settings = path.join(folder, 'redis.conf');
  writeFileSync(settings, block('redis', 'noeviction'));
  launch(shell.command, [...shell.args, 'redis-server', settings, '--dir', folder], { env: shell.env });
  await until(async () => (await shell.run('redis-cli ping')) === 'PONG\n', 'Redis');
}

/** The project's files as they are now, committed in a folder of their own, with the release that is built. */
async function freshCopy(t) {
  const folder = scratch();
  const { code, stdout, stderr } = await run('git', ['ls-files', '-co', '--exclude-standard', '-z'], { cwd: root });
  assert.equal(code, 0, stderr);
  for (const file of stdout.split('\0').filter((file) => file && existsSync(path.join(root, file)))) {
    mkdirSync(path.dirname(path.join(folder, file)), { recursive: true });
    cpSync(path.join(root, file), path.join(folder, file), { preserveTimestamps: true });
  }
  const identity = ['-c', 'user.name=test', '-c', 'user.email=test@localhost'];
  for (const args of [['init', '-q'], ['add', '-A'], [...identity, 'commit', '-qm', 'as it is now']]) {
    assert.equal((await run('git', args, { cwd: folder })).code, 0, args.join(' '));
  }
  cpSync(path.join(target, 'release'), path.join(folder, 'target/release'), { recursive: true, preserveTimestamps: true });
  return folder;
}

/**
 * A machine of its own, as far as these commands can tell: a loopback network in which port 8080 is free, copies of the folders in which they
 * install, and a fresh copy in the place of the project, where cargo finds what is built. There, everybody is root, and systemd is told but does nothing. What still runs there at the end of the test, or of this process, ends too.
 */
async function ownMachine(t, checkout) {
  const folder = scratch();
  const programs = path.join(folder, 'bin');
  mkdirSync(programs);
  writeFileSync(path.join(programs, 'sudo'), '#!/bin/sh\nexec "$@"\n', { mode: 0o755 });
  writeFileSync(path.join(programs, 'systemctl'), '#!/bin/sh\necho "systemctl $*"\n', { mode: 0o755 });
  const disk = path.join(folder, 'disk');
  mkdirSync(disk);
  const prepare = `mount -t tmpfs none ${disk} && cd ${disk} && for place in etc usr/local var/lib var/backups; do
    mkdir -p $place/new $place/work && mount -t overlay -o lowerdir=/$place,upperdir=$place/new,workdir=$place/work none /$place || exit 1
    done && mount --bind ${checkout} ${root} && ip link set lo up && echo ready && exec cat`;
  const spaces = ['--net', '--mount', '--pid'];
  for (const user of [['--map-root-user'], []]) {
    // The first process of the machine, with which all others end, ends with its stdin, which this process holds.
    const holder = launch('unshare', [...user, ...spaces, '--fork', '--kill-child', '--mount-proc', 'bash', '-c', prepare], { stdio: ['pipe', 'pipe', 'pipe'] });
    t.after(() => within(holder.kill('SIGKILL'), 'the machine to end'));
    if ((await within(holder.lines.next(), 'a machine')) !== 'ready') continue;
    const first = readFileSync(`/proc/${holder.child.pid}/task/${holder.child.pid}/children`, 'utf8').trim();
    const command = 'nsenter';
    const args = ['--target', first, ...spaces, ...(user.length > 0 ? ['--user', '--preserve-credentials'] : [])];
    const env = { ...process.env, PATH: `${programs}:${process.env.PATH}` };
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
  throw new Error('this test needs namespaces of its own (unshare --net --mount), which may not be made here');
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
