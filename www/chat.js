const room = encodeURIComponent(decodeURIComponent(location.hash.slice(1)) || 'lobby');
const byId = (id) => document.getElementById(id);

new EventSource(`chat/${room}`).addEventListener('new-message', (event) => {
  const { name, text } = JSON.parse(event.data);
  const item = document.createElement('li');
  item.textContent = `${name}: ${text}`;
  byId('log').append(item);
});

byId('composer').addEventListener('submit', async (event) => {
  event.preventDefault();
  const body = JSON.stringify({ name: byId('name').value, text: byId('text').value });
  const answer = await fetch(`chat/${room}`, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body });
  if (answer.ok) byId('text').value = '';
});
