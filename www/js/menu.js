// The menu of a message, and the dialogs of moderators.

import { $, copyText, element } from './views.js';
import { request, roomPath } from './network.js';
import { isOwn } from './state.js';
import { moveFocus } from './log.js';

const BAN_MINUTES = [60, 1440, 10_080, 525_600];

/** The dialog closes unless what `act` asked for is refused. */
function ask(say, /** @type {any} */ { title, content, submit, act }) {
	const dialog = $.dialog;
	const problem = element('p.problem', { role: 'alert' });
	const cancel = element('button.plain', { onclick: () => dialog.close() }, say(act ? 'cancel' : 'close'));
	const accept = element('button.primary', { type: 'submit', hidden: !act }, submit ?? '');
	const form = element('form', {}, element('h2', { id: 'dialog-title' }, title), ...content, problem, element('p.buttons', {}, cancel, accept));
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

export function openMenu({ say, chat, moderation: { moderator }, reply }, button, entry) {
	const own = isOwn(chat, entry);
	const actions = [
		chat.name && ['reply', () => reply(entry)], ['copy', () => copyText(entry.text)],
		(own || moderator) && ['remove', () => askToRemove(say, chat.open, entry)],
		!own && moderator && entry.author && ['ban', () => askToBan(say, entry)],
	];
	const menu = $.menuOfMessage;
	const items = actions.filter(Boolean).map(([key, act]) => element('button.item', { role: 'menuitem', onclick: () => (menu.hidePopover(), act()) }, say(key)));
	menu.replaceChildren(element('p.quiet', {}, say.full(entry.sentAt)), element('div', { role: 'menu', ariaLabel: say('actions') }, ...items));
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
	ask(say, { title: say('removeTitle'), content: [element('p', {}, say('removeBody', { name, room }))], submit: say('removeNow'), act });
}

function askToBan(say, { name, author }) {
	const options = BAN_MINUTES.map((minutes) => element('option', { value: minutes, selected: minutes === 1440 }, say(`minutes${minutes}`)));
	const boxes = [['address', 'banAddress'], ['removeMessages', 'banMessages']].map(([name, key]) => element('label.check', {}, element('input', { type: 'checkbox', name }), say(key)));
	const duration = element('label', {}, say('banFor'), element('select', { name: 'minutes' }, ...options));
	ask(say, {
		title: say('banTitle', { name }), submit: say('banNow'),
		content: [element('p', {}, say('banBody', { name })), duration, ...boxes],
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
		return element('li', {}, element('strong', { dir: 'auto' }, name ?? author), ` ${words} `, element('button.plain', { onclick: lift }, say('lift')));
	});
	const none = element('p', {}, body ? say('noBans') : say.error(answer));
	ask(say, { title: say('bans'), content: [items.length ? element('ul', {}, ...items) : none] });
}
