// The menu of a message or of somebody who is here, and all dialogs.

import { $, copyText, element, insert, moveFocus, nameOf, page, say, toast } from './views.js';
import { chat, follows, local, tab } from './start.js';
import { isOwn } from './state.js';
import { request, roomPath } from './network.js';
import { codeOfFragment, fragmentOf, fragmentOfCode, isPrivate, isRoomName, newKey, quoteOf, roomOfInput } from './text.js';

// As the server takes it.
const CARRIED_BYTES = 4096;
const BAN_MINUTES = { hour: 60, day: 1440, week: 10_080, year: 525_600 };

/** Closes unless what `act` asked for is refused. */
function ask(title, content, submit = '', /** @type {any} */ act = null, kind = 'primary') {
	const dialog = $.dialog;
	// The focus comes back to its button.
	$.settings.hidePopover();
	const problem = element('p.problem', { role: 'alert' });
	const cancel = element('button.plain', { type: 'button', onclick: () => dialog.close() }, say(act ? 'cancel' : 'close'));
	const accept = element(`button.primary.${kind}`, { hidden: !act }, submit);
	const form = element('form', {}, element('h2', { id: 'dialog-title' }, title), ...content, problem, element('p.buttons', {}, cancel, accept));
	form.onsubmit = async () => {
		accept.disabled = true;
		const answer = await act(form.elements);
		accept.disabled = false;
		if (answer.kind === 'done') dialog.close();
		else problem.textContent = say.error(answer);
	};
	dialog.replaceChildren(form);
	if (!dialog.open) dialog.showModal();
	// What had the focus before may have gone meanwhile.
	dialog.onclose = () => document.activeElement === document.body && $.scroller.focus({ preventScroll: true });
	(form.querySelector('input, select') ?? cancel).focus();
}

export const fingers = matchMedia('(hover: none)');

/** Whether a click there opens a message's menu: a finger needs no button, and selects text without it. */
export const opensMenu = (target) => target.matches('.more')
	|| (fingers.matches && target.closest('.bubble') && !target.closest('a, button') && getSelection()?.isCollapsed);

export const mayBan = (entry) => page.me.moderator && !isOwn(chat, entry) && (entry.author || entry.here);

/** Of a message, of one that was removed, or of somebody who is here. */
export function openMenu(button, entry) {
	const mayRemove = page.me.moderator || isOwn(chat, entry);
	const actions = [
		entry.text && chat.name && ['reply', () => reply(entry)], entry.text && ['copy', () => copyText(entry.text)],
		entry.text && mayRemove && ['remove', () => askToRemove(entry)], mayBan(entry) && ['ban', () => askToBan(entry)],
	];
	const menu = $.menuOfMessage;
	const items = actions.filter(Boolean).map(([key, act]) => element(`button.item.${key}`, { role: 'menuitem', onclick: () => (menu.hidePopover(), act()) }, say(key)));
	menu.replaceChildren(element('p.quiet', {}, entry.here ? entry.name : say.full(entry.sentAt)), element('div', { role: 'menu', ariaLabel: say('actions') }, ...items));
	menu.showPopover();
	const { right, bottom, top } = button.getBoundingClientRect();
	const { offsetWidth, offsetHeight } = menu;
	menu.style.left = `${Math.max(8, right - offsetWidth)}px`;
	menu.style.top = `${bottom + offsetHeight > innerHeight ? Math.max(8, top - offsetHeight) : bottom}px`;
	menu.onkeydown = ({ key }) => void (key === 'Tab' ? menu.hidePopover() : moveFocus(items, key));
	items[0].focus();
}

/** What is written already stays, below. */
function reply({ name, text }) {
	insert(quoteOf(name, text), { from: 0, to: 0 });
	$.text.selectionStart = $.text.value.length;
}

function askToRemove({ room, eventId, name }) {
	const body = element('p', {}, say('removeBody', { name, room: nameOf(room) }));
	ask(say('removeTitle'), [body], say('removeNow'), () => request(`${roomPath(room)}/messages/${eventId}`, 'DELETE'), 'danger');
}

async function askToBan({ name, author, room }) {
	// When it is confirmed, somebody else may have the name.
	author ??= await authorHere(room, name);
	if (!author) return toast(say('gone', { name }));
	const options = Object.entries(BAN_MINUTES).map(([unit, value]) => element('option', { value, selected: unit === 'day' }, say.unit(unit)));
	const box = (key, checked) => element('label.check', {}, element('input', { type: 'checkbox', name: key, checked }), say(key));
	const duration = element('label.check', {}, say('banFor'), element('select', { name: 'minutes' }, ...options));
	const body = element('p', {}, say('banBody', { name }));
	ask(say('banTitle', { name }), [body, duration, box('banAddress', true), box('banMessages', false)], say('banNow'), async ({ minutes, banAddress, banMessages }) => {
		const answer = await request('bans', 'POST', {
			author, minutes: Number(minutes.value), address: banAddress.checked, removeMessages: banMessages.checked,
		});
		if (answer.kind === 'done') toast(say('banned', { name }));
		return answer;
	}, 'danger');
}

/** Who has the name now may never have spoken. */
async function authorHere(room, name) {
	const { members = [], authors = [] } = (await request(`${roomPath(room)}/members`)).body ?? {};
	return authors[members.indexOf(name)];
}

export function askPassword(done) {
	const field = element('input', { type: 'password', required: true, autocomplete: 'current-password' });
	ask(say('moderate'), [element('label', {}, say('password'), field)], say('logIn'), async () => {
		const answer = await request('moderator', 'POST', { password: field.value });
		await done();
		return answer;
	});
}

/** Shows a code by which another device goes on as this person, with the name, the rooms and what is read. */
async function showCode() {
	const carried = { name: chat.name, followed: {} };
	for (const [room, entry] of Object.entries(follows())) {
		carried.followed[room] = entry;
		if (new TextEncoder().encode(JSON.stringify(carried)).length > CARRIED_BYTES) delete carried.followed[room];
	}
	const { kind, body, ...problem } = await request('me/code', 'POST', carried);
	if (kind !== 'done') return ask(say('takeAlong'), [element('p.problem', {}, say.error(problem))]);
	const link = location.origin + location.pathname + fragmentOfCode(body.code);
	const copy = element('button.plain', { type: 'button', onclick: () => copyText(link) }, say('copyLink'));
	const code = element('strong', { id: 'code' }, body.code);
	ask(say('takeAlong'), [element('p', {}, say('codeBody', { until: say.time(body.expiresAt) })), element('p', {}, code, ' ', copy)]);
}

$.takeAlong.onclick = showCode;
$.samePerson.onclick = () => askCode();

/** The code of another device in the address does not stay there. */
export function takeCode() {
	const code = codeOfFragment(location.hash);
	if (!code) return;
	history.replaceState(null, '', location.pathname);
	askCode(code);
}

/** Nobody goes on as somebody else unasked: the link may be another's. Who is somebody here has to enter the code. */
function askCode(code = '') {
	const name = local.get('name');
	const field = element('input', { value: name ? '' : code, autocomplete: 'off', spellcheck: false, required: true, ariaLabel: say('code') });
	ask(say('samePerson'), [element('p', {}, say('samePersonBody')), element('p', {}, name ? say('otherPerson', { name }) : ''), field], say('goOn'), async () => {
		const answer = await request('me', 'POST', { code: field.value.trim() });
		if (answer.kind === 'done') {
			for (const area of [local, tab]) area.set('name', answer.body.name);
			local.set('followed', { ...follows(), ...follows(answer.body.followed) });
			location.replace(location.pathname);
		}
		return answer;
	});
}

export async function showBans() {
	const { body, ...answer } = await request('bans');
	const items = (body?.bans ?? []).map(({ author, name, until, address }) => {
		const lift = () => request(`bans/${author}`, 'DELETE').then(showBans);
		const words = say(address ? 'banWithAddress' : 'banLine', { until: say.full(until) });
		const button = element('button.plain', { type: 'button', onclick: lift }, say('lift'));
		return element('li', {}, element('strong', { dir: 'auto' }, name ?? author), ` ${words} `, button);
	});
	ask(say('bans'), [items.length ? element('ul', {}, ...items) : element('p', {}, body ? say('noBans') : say.error(answer))]);
}

// ---- Private rooms

export function askForPrivate() {
	const field = element('input', { autocomplete: 'off', maxLength: 37, dir: 'auto' });
	field.oninput = () => field.setCustomValidity('');
	ask(say('newPrivate'), [element('p', {}, say('privateHelp')), element('label', {}, say('label'), field)], say('create'), async () => {
		const room = `${roomOfInput(field.value)}~${newKey()}`;
		field.setCustomValidity(isRoomName(room) ? '' : say('badRoom'));
		if (!field.reportValidity()) return {};
		location.hash = fragmentOf(room);
		return { kind: 'done' };
	});
}

/** Asks only where something is lost. */
export function askToLeave(room, leave) {
	const lost = [isPrivate(room) && 'leaveBody', chat.pending.some((item) => item.room === room) && 'leaveUnsent'].filter(Boolean);
	if (!lost.length) return leave();
	ask(say('leaveTitle', { room: nameOf(room) }), lost.map((key) => element('p', {}, say(key))), say('leaveNow'), async () => (leave(), { kind: 'done' }), 'danger');
}
