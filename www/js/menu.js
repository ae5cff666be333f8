// What can be done with a message, and what only moderators can do. What cannot be undone is asked first, in words.

import { $, buttonOf, copyText, element } from './browser.js';
import { request, roomPath } from './network.js';
import { isOwn } from './state.js';
import { moveFocus } from './log.js';

const BAN_MINUTES = [60, 1440, 10_080, 525_600];

/** Asks in a dialog, which closes unless what `act` asked for was refused. */
function ask(say, /** @type {any} */ { title, content, submit, act }) {
	const dialog = $('dialog');
	const problem = element('p', { className: 'problem', role: 'alert' });
	const cancel = buttonOf(say(act ? 'cancel' : 'close'), () => dialog.close());
	const accept = element('button', { className: 'primary', textContent: submit, hidden: !act });
	const form = element('form', {}, element('h2', { id: 'dialog-title', textContent: title }), ...content, problem, element('p', { className: 'buttons' }, cancel, accept));
	form.addEventListener('submit', async (event) => {
		event.preventDefault();
		accept.disabled = true;
		const answer = await act(form.elements);
		accept.disabled = false;
		if (answer.kind === 'done') dialog.close();
		else problem.textContent = say.error(answer);
	});
	dialog.replaceChildren(form);
	if (!dialog.open) dialog.showModal();
	(form.querySelector('input, select') ?? cancel).focus();
}

const paragraph = (textContent) => element('p', { textContent });

const checkbox = (name, words) => element('label', { className: 'check' }, element('input', { type: 'checkbox', name }), words);

export function openMenu({ say, chat, moderation: { moderator }, reply }, button, entry) {
	const own = isOwn(chat, entry);
	const actions = [
		chat.name && ['reply', () => reply(entry)], ['copy', () => copyText(entry.text)],
		(own || moderator) && ['remove', () => askToRemove(say, chat.open, entry)],
		!own && moderator && entry.author && ['ban', () => askToBan(say, entry)],
	];
	const menu = $('menu-of-message');
	const items = actions.filter(Boolean).map(([key, act]) => Object.assign(buttonOf(say(key), () => {
		menu.hidePopover();
		act();
	}, 'item'), { role: 'menuitem' }));
	menu.replaceChildren(element('p', { className: 'quiet', textContent: say.full(entry.sentAt) }), element('div', { role: 'menu', ariaLabel: say('actions') }, ...items));
	menu.showPopover();
	const { right, bottom, top } = button.getBoundingClientRect();
	const { offsetWidth, offsetHeight } = menu;
	menu.style.left = `${Math.max(8, right - offsetWidth)}px`;
	menu.style.top = `${bottom + offsetHeight > innerHeight ? Math.max(8, top - offsetHeight) : bottom}px`;
	menu.onkeydown = ({ key }) => void moveFocus(items, key);
	items[0].focus();
}

function askToRemove(say, room, { eventId, name }) {
	const act = () => request(`${roomPath(room)}/messages/${eventId}`, { method: 'DELETE' });
	ask(say, { title: say('removeTitle'), content: [paragraph(say('removeBody', { name, room }))], submit: say('removeNow'), act });
}

function askToBan(say, { name, author }) {
	const options = BAN_MINUTES.map((minutes) => element('option', { value: minutes, textContent: say(`minutes${minutes}`), selected: minutes === 1440 }));
	const duration = element('label', {}, say('banFor'), element('select', { name: 'minutes' }, ...options));
	ask(say, {
		title: say('banTitle', { name }), submit: say('banNow'),
		content: [paragraph(say('banBody', { name })), duration, checkbox('address', say('banAddress')), checkbox('removeMessages', say('banMessages'))],
		act: ({ minutes, address, removeMessages }) => request('bans', {
			method: 'POST', json: { author, minutes: Number(minutes.value), address: address.checked, removeMessages: removeMessages.checked },
		}),
	});
}

export function askPassword(say, done) {
	const field = element('input', { type: 'password', name: 'password', required: true, autocomplete: 'current-password' });
	ask(say, {
		title: say('moderate'), content: [element('label', {}, say('password'), field)], submit: say('logIn'),
		act: async ({ password }) => {
			const answer = await request('moderator', { method: 'POST', json: { password: password.value } });
			await done();
			return answer;
		},
	});
}

export async function showBans(say) {
	const { body, ...answer } = await request('bans');
	const items = (body?.bans ?? []).map(({ author, name, until, address }) => {
		const lift = async () => {
			await request(`bans/${author}`, { method: 'DELETE' });
			showBans(say);
		};
		const words = say(address ? 'banWithAddress' : 'banLine', { until: say.full(until) });
		return element('li', {}, element('strong', { dir: 'auto', textContent: name ?? author }), ` ${words} `, buttonOf(say('lift'), lift));
	});
	const none = paragraph(body ? say('noBans') : say.error(answer));
	ask(say, { title: say('bans'), content: [items.length ? element('ul', {}, ...items) : none] });
}
