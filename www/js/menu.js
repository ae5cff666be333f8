// What can be done with a message, and what only moderators can do. Everything that cannot be undone is asked first, in words.

import { $, buttonOf, copyText, element } from './dom.js';
import { isOwn } from './state.js';
import { request, roomPath } from './network.js';

const BAN_MINUTES = [60, 1440, 10080, 525_600];

/**
 * Asks in a dialog. `act` gives a problem, which is then shown, or nothing, and the dialog closes.
 * @param {any} say
 * @param {{ title: string, content: any[], submit?: string, act?: (fields: any) => Promise<any> }} question
 */
function ask(say, { title, content, submit, act }) {
	const dialog = $('dialog');
	const problem = element('p', { className: 'problem', role: 'alert' });
	const cancel = buttonOf(say(submit ? 'cancel' : 'close'), () => dialog.close());
	const accept = element('button', { className: 'primary', textContent: submit ?? '', hidden: !submit });
	const form = element('form', {}, element('h2', { id: 'dialog-title', textContent: title }), ...content, problem, element('p', { className: 'buttons' }, cancel, accept));
	form.addEventListener('submit', async (event) => {
		event.preventDefault();
		accept.disabled = true;
		const found = await act?.(form.elements);
		accept.disabled = false;
		if (found) problem.textContent = say.error(found);
		else dialog.close();
	});
	dialog.replaceChildren(form);
	if (!dialog.open) dialog.showModal();
	(form.querySelector('input, select') ?? cancel).focus();
}

const problemIn = (answer) => (answer.kind === 'done' ? undefined : answer);

const labelled = (words, field) => element('label', {}, words, field);

const checkbox = (name, words) => element('label', { className: 'check' }, element('input', { type: 'checkbox', name }), words);

// ---- The menu of a message

export function openMenu(page, button, entry) {
	const { say, chat, moderation } = page;
	const own = isOwn(chat, entry);
	const actions = [[chat.name && 'reply', () => page.reply(entry)], ['copy', () => copyText(entry.text)]];
	if (own || moderation.moderator) actions.push(['remove', () => askToRemove(page, entry)]);
	if (!own && moderation.moderator && entry.author) actions.push(['ban', () => askToBan(page, entry)]);
	const menu = $('menu-of-message');
	const items = actions.filter(([key]) => key).map(([key, act]) => {
		const choose = () => {
			menu.hidePopover();
			act();
		};
		return Object.assign(buttonOf(say(key), choose, 'item'), { role: 'menuitem' });
	});
	menu.replaceChildren(element('p', { className: 'quiet', textContent: say.full(entry.sentAt) }), element('div', { role: 'menu', ariaLabel: say('actions') }, ...items));
	menu.showPopover();
	const { right, bottom, top } = button.getBoundingClientRect();
	const { offsetWidth, offsetHeight } = menu;
	menu.style.left = `${Math.max(8, Math.min(right, innerWidth - 8) - offsetWidth)}px`;
	menu.style.top = `${bottom + offsetHeight > innerHeight - 8 ? Math.max(8, top - offsetHeight) : bottom}px`;
	menu.onkeydown = ({ key }) => void moveFocus(items, key);
	items[0].focus();
}

/** Up and down among these nodes; tells whether the key was one of those. */
export function moveFocus(nodes, key) {
	const step = { ArrowDown: 1, ArrowUp: -1 }[key];
	if (!step) return false;
	const at = nodes.indexOf(document.activeElement);
	nodes[Math.max(0, Math.min(nodes.length - 1, at + step))]?.focus();
	return true;
}

function askToRemove({ say, chat }, { eventId, name }) {
	const room = chat.open;
	ask(say, {
		title: say('removeTitle'), content: [element('p', { textContent: say('removeBody', { name, room }) })], submit: say('removeNow'),
		act: async () => problemIn(await request(`${roomPath(room)}/messages/${eventId}`, { method: 'DELETE' })),
	});
}

function askToBan({ say }, { name, author }) {
	const duration = element('select', { name: 'minutes' }, ...BAN_MINUTES.map((minutes) => element('option', { value: minutes, textContent: say(`minutes${minutes}`), selected: minutes === 1440 })));
	ask(say, {
		title: say('banTitle', { name }), submit: say('banNow'),
		content: [element('p', { textContent: say('banBody', { name }) }), labelled(say('banFor'), duration), checkbox('address', say('banAddress')), checkbox('removeMessages', say('banMessages'))],
		act: async ({ minutes, address, removeMessages }) => problemIn(await request('bans', {
			method: 'POST', json: { author, minutes: Number(minutes.value), address: address.checked, removeMessages: removeMessages.checked },
		})),
	});
}

// ---- Moderators

/** Whether this server has moderators, and this session is one. */
export async function askModeration() {
	const answer = await request('moderator');
	return answer.kind === 'done' ? answer.body : { available: false, moderator: false };
}

export function askPassword(say, done) {
	const field = element('input', { type: 'password', name: 'password', required: true, autocomplete: 'current-password' });
	ask(say, {
		title: say('moderate'), content: [labelled(say('password'), field)], submit: say('logIn'),
		act: async ({ password }) => {
			const problem = problemIn(await request('moderator', { method: 'POST', json: { password: password.value } }));
			if (!problem) await done();
			return problem;
		},
	});
}

export const stopModerating = () => request('moderator', { method: 'DELETE' });

export async function showBans(say) {
	const answer = await request('bans');
	const lift = async (author) => {
		await request(`bans/${author}`, { method: 'DELETE' });
		showBans(say);
	};
	const items = (answer.body?.bans ?? []).map(({ author, name, until, address }) => {
		const words = say(address ? 'banWithAddress' : 'banLine', { until: say.short(until) });
		return element('li', {}, element('strong', { dir: 'auto', textContent: name ?? author }), ` ${words} `, buttonOf(say('lift'), () => lift(author)));
	});
	const empty = answer.kind === 'done' ? say('noBans') : say.error(answer);
	ask(say, { title: say('bans'), content: [items.length ? element('ul', { className: 'bans' }, ...items) : element('p', { textContent: empty })] });
}
