// The Debian package, made as the guide says, installed on a machine of its own that systemd starts: it runs the service as the unit says. The
// package for rpm has the same content.
import test, { before } from 'node:test';
import assert from 'node:assert/strict';
import { copyFileSync, existsSync, mkdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { binary, launch, root, run, scratch, target, until, within } from '../common/support.mjs';
import { block } from './readme.mjs';

const manifest = async () => JSON.parse((await run('cargo', ['metadata', '--locked', '--no-deps', '--format-version', '1'], { cwd: root })).stdout).packages[0];
const guide = 'src/guide/installing.md';
const licences = path.join(root, 'target/licences.txt');

before(async () => {
  const { code, stderr } = await run('bash', ['-euc', block('sh', 'licences.txt', guide)], { cwd: root });
  assert.equal(code, 0, stderr);
});

test('the file of licences has a text of each crate in the default build', async () => {
  const { stdout } = await run('cargo', ['tree', '--locked', '--edges', 'normal', '--prefix', 'none', '--format', '{p}|{l}'], { cwd: root });
  const crates = new Map(stdout.trim().split('\n').filter((line) => !line.includes(' (/')).map((line) => line.replace(' (*)', '').split('|')));
  const texts = new Map(readFileSync(licences, 'utf8').split(/^=== /m).slice(1).map((part) => [part.split('\n', 1)[0], part]));
  assert.ok(crates.size > 15, `${crates.size} crates`);
  assert.deepEqual([...texts.keys()].sort(), [...crates.keys()].sort());
  for (const [crate, names] of crates) {
    assert.match(names, /\bMIT\b/, `${crate} is under ${names}`);
    assert.match(texts.get(crate), /permission is hereby granted|licensed under/i, crate);
  }
});

test('both packages hold the same files', async () => {
  const { metadata } = await manifest();
  const placed = (source, place) => `${source} /${place}`.replaceAll('//', '/');
  const deb = metadata.deb.assets.map(([source, folder]) => placed(source, path.join(folder, path.basename(source))));
  const { 'unit-scripts': folder } = metadata.deb['systemd-units'];
  deb.push(placed(`${folder}/chatroom.service`, 'usr/lib/systemd/system/chatroom.service'));
  const rpm = metadata['generate-rpm'].assets.map(({ source, dest }) => placed(source, dest));
  assert.deepEqual(rpm.sort(), deb.sort());
  for (const script of ['post_install_script', 'pre_uninstall_script', 'post_uninstall_script']) {
    assert.deepEqual(await run('sh', ['-nc', metadata['generate-rpm'][script]]), { code: 0, stdout: '', stderr: '' });
  }
});

test('the package installs a service that runs', async (t) => {
  const machine = await installed(t, await makePackage(t));
  await until(async () => (await machine.run('curl -sf localhost:8080/healthz')).stdout === '{"status":"ok"}', 'the service');
  assert.match((await machine.run("curl -s --data-raw kept -H 'Content-Type: text/plain' 'localhost:8080/chat?name=bot'")).stdout, /"text":"kept"/);
  assert.match((await machine.run('journalctl --no-pager -u chatroom')).stdout, /chatroom\[\d+\]: chatroom info: version/);
  // A user of its own, who can gain no rights.
  const status = (await machine.run('cat /proc/$(pidof chatroom)/status')).stdout;
  assert.match(status, /^Uid:\s+6\d{4}\s/m);
  assert.match(status, /^NoNewPrivs:\s+1$/m);
  assert.match((await machine.run('ls -ld /var/lib/private/chatroom/')).stdout, /^drwx------ .* chatroom chatroom /);

  // Installed again, as an upgrade is: it is started anew, and what was said is still there.
  const first = (await machine.run('pidof chatroom')).stdout;
  assert.equal((await machine.run('dpkg -i /root/chatroom.deb')).code, 0);
  await until(async () => (await machine.run('curl -s localhost:8080/chat/lobby/messages')).stdout.includes('"text":"kept"'), 'the message');
  assert.notEqual((await machine.run('pidof chatroom')).stdout, first);

  // The guide's backup, made twice while the service runs, and restored.
  const recipe = async (containing) => machine.run(`sudo() { "$@"; }; ${block('sh', containing, 'src/guide/operating.md')}`);
  const say = (text) => machine.run(`curl -sf --data-raw ${text} -H 'Content-Type: text/plain' 'localhost:8080/chat?name=bot'`);
  for (const text of ['first', 'second', 'third']) {
    assert.equal((await say(text)).code, 0);
    if (text !== 'third') assert.deepEqual(await recipe('/var/backups && rm'), { code: 0, stdout: '', stderr: '' });
  }
  assert.equal((await recipe('cp -r /var/backups/chatroom')).code, 0);
  const restored = async () => (await machine.run('curl -sf localhost:8080/chat/lobby/messages')).stdout;
  await until(async () => /"text":"kept".*"text":"first".*"text":"second"/.test(await restored()), 'what the second backup has');
  assert.doesNotMatch(await restored(), /third/);
  assert.equal((await say('fourth')).code, 0);

  await others(machine);

  // A bad option does not get better by trying again.
  await machine.run("mkdir -p /etc/systemd/system/chatroom.service.d; printf '[Service]\\nEnvironment=CHATROOM_HISTORY=much\\n' > /etc/systemd/system/chatroom.service.d/bad.conf");
  await machine.run('systemctl daemon-reload; systemctl restart chatroom');
  const property = async (name) => (await machine.run(`systemctl show -P ${name} chatroom`)).stdout.trim();
  await until(async () => (await property('ExecMainStatus')) === '2', 'the end of the service');
  await until(async () => (await property('ActiveState')) === 'failed', 'the service to be given up');
  assert.equal(await property('NRestarts'), '0');
  assert.match((await machine.run('journalctl --no-pager -u chatroom')).stdout, /CHATROOM_HISTORY/);
  await machine.run('rm /etc/systemd/system/chatroom.service.d/bad.conf; systemctl daemon-reload; systemctl restart chatroom');
  await until(async () => (await machine.run('curl -sf localhost:8080/healthz')).code === 0, 'the service');

  assert.equal((await machine.run('dpkg -r chatroom')).code, 0);
  assert.equal((await machine.run('pidof chatroom')).code, 1);
  assert.match((await machine.run('cat /var/lib/private/chatroom/messages.jsonl')).stdout, /kept/);
});

/** The recipes of a second chat and of one for the local network, beside the service that is installed. */
async function others(machine) {
  const recipes = 'src/guide/recipes.md';
  const drop = async (file, containing) => {
    const { code, stderr } = await machine.run(`mkdir -p ${path.dirname(file)}; cat > ${file} <<'END'\n${block('ini', containing, recipes)}END`);
    assert.equal(code, 0, stderr);
  };
  const told = readFileSync(path.join(root, recipes), 'utf8');
  for (const [containing, file] of [['LISTEN=0.0.0.0', '/etc/systemd/system/chatroom.service.d/lan.conf'], ['garden-password', '/etc/systemd/system/chatroom@garden.service.d/garden.conf']]) {
    assert.ok(told.includes(file), file);
    await drop(file, containing);
  }
  const well = async (command) => {
    const { code, stdout, stderr } = await machine.run(`sudo() { "$@"; }; set -e; ${command}`);
    assert.equal(code, 0, stderr);
    return stdout;
  };
  await well(block('sh', 'FragmentPath', recipes));
  assert.equal(await well('systemd-analyze verify --man=no chatroom@garden.service 2>&1'), '');
  await well(block('sh', 'enable --now chatroom@garden', recipes));
  const garden = `curl -s -H 'Host: garden.example.org' localhost:8090`;
  await until(async () => (await machine.run(`${garden}/healthz`)).code === 0, 'the second chat');
  assert.match(await well(`${garden}/rooms`), /"password-required"/);
  await well(`curl -sf -u "me:$(cat /etc/chatroom/garden-password)" -H 'Host: garden.example.org' -H 'Content-Type: text/plain' --data-raw 'among us' 'localhost:8090/chat?name=bot'`);
  assert.match(await well('cat /var/lib/private/chatroom-garden/messages.jsonl'), /among us/);
  assert.doesNotMatch(await well('cat /var/lib/private/chatroom/messages.jsonl'), /among us/);
  // They run at the same time, and what one may do does not touch the other.
  await well('systemctl restart chatroom; ip address add 192.0.2.7/24 dev lo');
  await until(async () => (await machine.run('curl -sf 192.0.2.7:8080/chat/lobby/messages')).stdout.includes('fourth'), 'the chat of the local network');
  await well('systemctl disable --now chatroom@garden; rm /etc/systemd/system/chatroom.service.d/lan.conf; systemctl daemon-reload; systemctl restart chatroom');
  await until(async () => (await machine.run('curl -sf localhost:8080/healthz')).code === 0, 'the service');
  assert.equal((await machine.run('curl -sf 192.0.2.7:8080/healthz')).code, 7);
}

/** By the guide's command, of the release build that is there. */
async function makePackage(t) {
  const [command] = block('sh', 'cargo deb', guide).split('\n');
  const folder = scratch();
  const built = path.join(root, 'target/release/chatroom');
  if (binary !== built) {
    mkdirSync(path.dirname(built), { recursive: true });
    copyFileSync(binary, built);
  }
  const tools = path.join(target, 'tools/bin');
  const env = { ...process.env, PATH: `${tools}:${process.env.PATH}` };
  const { code, stderr } = await run('bash', ['-euc', `${command} --no-build --fast --output ${folder}/chatroom.deb`], { cwd: root, env, patience: 300_000 });
  assert.equal(code, 0, stderr);
  return path.join(folder, 'chatroom.deb');
}

/** This machine again, without the word of build machines that no service may start, as far as its programs go, with the package installed, systemd as its first process and a loopback network. */
async function installed(t, file) {
  assert.equal(process.getuid(), 0, 'this test needs root, to start systemd in namespaces of its own');
  assert.ok(existsSync('/lib/systemd/systemd'));
  const folder = scratch();
  const prepare = `mount --make-rprivate / && mount -t tmpfs none ${folder} && cd ${folder} && mkdir new work root
    mount -t overlay -o lowerdir=/,upperdir=new,workdir=work none root && cp ${file} root/root/chatroom.deb && cd root
    rm -f usr/sbin/policy-rc.d; chroot . dpkg -i /root/chatroom.deb
    mount -t proc proc proc; mount --rbind /dev dev; mount -t sysfs sysfs sys; mount -t cgroup2 none sys/fs/cgroup
    mount -t tmpfs none run; mount -t tmpfs none tmp; ip link set lo up
    mkdir run/before; pivot_root . run/before; umount -l /run/before; mount --make-rshared /; echo ready
    exec env container=other /lib/systemd/systemd --unit=chatroom.service`;
  const spaces = ['--mount', '--pid', '--net', '--cgroup', '--ipc', '--uts'];
  const holder = launch('unshare', [...spaces, '--fork', '--kill-child', 'bash', '-euc', prepare]);
  t.after(() => within(holder.kill('SIGKILL'), 'the machine to end'));
  for await (const line of linesOf(holder)) if (line === 'ready') break;
  const first = readFileSync(`/proc/${holder.child.pid}/task/${holder.child.pid}/children`, 'utf8').trim();
  return { run: (line) => run('nsenter', ['--target', first, '--all', 'bash', '-c', line]) };
}

async function* linesOf(program) {
  for (;;) {
    const line = await within(program.lines.next(), 'the package to be installed', 120_000);
    assert.notEqual(line, undefined, program.stderr);
    yield line;
  }
}
