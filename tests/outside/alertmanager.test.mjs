// Alertmanager's notifier for Slack, pointed at a room.
import test from 'node:test';
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { freePort, openStream, request, scratch, service, startServer, until } from '../common/support.mjs';

test('Alertmanager tells a room what fires and what is resolved', async (t) => {
  const server = await startServer(t);
  const [folder, port] = [scratch(), await freePort()];
  const config = path.join(folder, 'alertmanager.yml');
  writeFileSync(config, `
route: { receiver: chat, group_by: [alertname], group_wait: 0s, group_interval: 1s }
receivers:
  - name: chat
    slack_configs:
      - { api_url: '${server.url}/chat/ops/hook', channel: '#ops', send_resolved: true, text: '{{ .CommonAnnotations.summary }}' }
`);
  const stream = await openStream(`${server.url}/chat/ops`);
  const alertmanager = service(t, 'prometheus-alertmanager', [
    `--config.file=${config}`, `--storage.path=${folder}`, `--web.listen-address=127.0.0.1:${port}`, '--cluster.listen-address=',
  ]);
  const url = `http://127.0.0.1:${port}`;
  await until(async () => (await request(`${url}/-/ready`)).status === 200, 'Alertmanager');
  const alert = (more) => request(`${url}/api/v2/alerts`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify([{ labels: { alertname: 'DiskFull', host: 'web' }, annotations: { summary: 'Only 1 % is free' }, ...more }]),
  });
  assert.equal((await alert({})).status, 200);
  const firing = (await stream.next('new-message')).data;
  assert.deepEqual([firing.name, firing.author, firing.member], ['Alertmanager', null, false]);
  assert.match(firing.text, /^\[FIRING:1\] DiskFull .* <http:\/\/[^ >]+\/#\/alerts\?receiver=chat>\nOnly 1 % is free$/);
  assert.equal((await alert({ endsAt: new Date().toISOString() })).status, 200);
  assert.match((await stream.next('new-message')).data.text, /^\[RESOLVED\] DiskFull .*\nOnly 1 % is free$/);
  // It logs every answer that does not please it.
  assert.doesNotMatch(alertmanager.stderr, /level=(warn|error)/, alertmanager.stderr);
});
