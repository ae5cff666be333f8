// What is drawn beside the log. Texts never enter the document as HTML.

import { chat, current, followed, local } from './start.js';
import { completionsAt, fragmentOf, hueOf, isRoomName, mentions, sameName } from './text.js';
import { PENDING_MOST } from './network.js';
import { compareIds, lastOf, unreadOf } from './state.js';

const PEOPLE_LISTED = 200; // The count tells of the rest.
const TEXT_BYTES = 4096; // As the server has it by default.
const COUNTED_BYTES = 500; // When fewer are left, they are shown.

/** What is shown and belongs to no room. @type {any} */
export const page = { listed: [], naming: false, nameError: {}, moderation: {} };

/** `$.ownName` is the element `own-name`. @type {Record<string, any>} */
export const $ = new Proxy({}, { get: (_, key) => document.getElementById(String(key).replace(/[A-Z]/g, '-$&').toLowerCase()) });

export let say;

/** In the document, `data-aria-label="close"` gives the property `ariaLabel` its words. */
export function translate(words) {
	say = words;
	document.documentElement.lang = say.language;
	for (const node of $.app.querySelectorAll('*')) {
		for (const [property, key] of Object.entries(node.dataset)) node[property] = say(key);
	}
}

/** Makes an element of a `tag.class`. @returns {any} */
export function element(what, properties, ...children) {
	const [tag, ...classes] = what.split('.');
	const { dataset, ...others } = { ...properties };
	const node = Object.assign(document.createElement(tag), others);
	node.classList.add(...classes);
	Object.assign(node.dataset, dataset);
	node.append(...children);
	return node;
}

// An equal text would be read out again.
export function setText(node, text) {
	if (node.textContent !== String(text)) node.textContent = text;
}

/** Makes the children of `parent` stand for `items`, and keeps those that did before. */
export function syncList(parent, items, build, refresh) {
	/** @type {any} */
	const focused = document.activeElement;
	const inside = parent.contains(focused);
	const kept = new Map([...parent.children].map((node) => [node.syncKey, node]));
	const nodes = items.map((item) => {
		const syncKey = item.key ?? item;
		const node = kept.get(syncKey) ?? Object.assign(build(item), { syncKey });
		kept.delete(syncKey);
		refresh?.(node, item);
		return node;
	});
	for (const node of kept.values()) node.remove();
	for (const [at, node] of nodes.entries()) if (parent.children[at] !== node) parent.insertBefore(node, parent.children[at]);
	// A node that is moved or removed loses the focus.
	if (inside) (focused.isConnected ? focused : $.scroller).focus({ preventScroll: true });
}

export const paint = (node, key) => node.style.setProperty('--hue', hueOf(key));

const letterOf = (name) => [...name][0]?.toUpperCase() ?? '';

// The letter is generated content: it is not copied with a message.
export const avatarOf = (name) => element('span.avatar', { ariaHidden: 'true', dataset: { letter: letterOf(name) } });

/** A page over plain HTTP has no `navigator.clipboard`. */
export async function copyText(value) {
	if (navigator.clipboard) return navigator.clipboard.writeText(value);
	const field = element('textarea', { value, className: 'unseen' });
	document.body.append(field);
	field.select();
	document.execCommand('copy');
	field.remove();
}

// ---- The side panel and the bar

const narrow = matchMedia('(max-width: 48rem), (max-height: 30rem)');
narrow.addEventListener('change', () => showSide(false));

export function showSide(open) {
	const over = open && narrow.matches;
	document.body.classList.toggle('side-open', over);
	$.bar.inert = $.main.inert = over;
	$.menu.ariaExpanded = String(over);
	if (over) $.sideClose.focus();
}

export function closeSide() {
	if (!$.main.inert) return;
	showSide(false);
	$.menu.focus();
}

export function drawConnection() {
	const { settled, memberCount } = current();
	const { connection, open, refused } = chat;
	const bad = !isRoomName(open);
	const problem = bad ? { message: say('badRoom') } : refused.get(open) ?? connection.problem;
	const phase = bad || refused.has(open) ? 'refused' : connection.phase === 'connected' && !settled ? 'connecting' : connection.phase;
	const wait = Math.ceil(((connection.until ?? 0) - Date.now()) / 1000);
	$.statusDot.className = `dot ${phase}`;
	setText($.status, say(phase));
	$.status.classList.toggle('unseen', phase === 'connected'); // Only read out.
	$.here.hidden = phase !== 'connected';
	setText($.here, say('here', { n: memberCount }));
	// A live region would read out each second.
	setText($.countdown, wait > 0 ? say('inSeconds', { n: wait }) : '');
	$.notice.hidden = !problem || page.naming;
	setText($.noticeText, problem ? say.error(problem) : '');
	$.tryAgain.hidden = bad;
}

export function drawRooms() {
	const { listed } = page;
	const rowOf = (room) => {
		const { memberCount, lastMessageAt } = listed.find((other) => other.room === room) ?? {};
		const state = chat.rooms.get(room);
		const unread = state ? unreadOf(chat, state) : [];
		const mentioned = unread.filter(({ text }) => mentions(text, chat.name)).length;
		return { key: room, memberCount, unread: unread.length, mentioned, at: (state && lastOf(state).eventId) || `${lastMessageAt ?? 0}-0` };
	};
	const own = [...new Set([...chat.asked, ...followed(), chat.open])];
	const others = listed.map(({ room }) => room).filter((room) => !own.includes(room));
	const byActivity = (a, b) => compareIds(b.at, a.at) || a.key.localeCompare(b.key);
	const show = (list, rooms, followed) => syncList(list, rooms.map(rowOf).sort(byActivity), ({ key: room }) => {
		const link = element('a', { dir: 'auto', href: fragmentOf(room) }, room);
		const button = element('button.leave', { ariaLabel: say('leave', { room }), dataset: { leave: room } });
		return element('li', {}, link, element('span.badge', { ariaHidden: 'true' }), button);
	}, ({ children: [link, badge, button] }, { key: room, memberCount, unread, mentioned }) => {
		const words = [room, unread && say('unread', { n: unread }), mentioned && say('mentioned', { n: mentioned })];
		link.ariaCurrent = room === chat.open ? 'page' : null;
		link.ariaLabel = unread ? words.filter(Boolean).join(', ') : null;
		link.classList.toggle('unread', unread > 0);
		badge.classList.toggle('mentioned', mentioned > 0);
		setText(badge, mentioned ? `@${mentioned}` : unread || (!followed && memberCount) || '');
		button.hidden = !followed || own.length < 2;
	});
	show($.rooms, own, true);
	show($.otherRooms, others, false);
	$.others.hidden = !others.length;
}

const ownHue = () => [...chat.authors].at(-1) ?? chat.name;

export function drawPeople() {
	const { members, authors, memberCount, listenerCount } = current();
	const names = [...members.values()].sort((a, b) => a.localeCompare(b)).slice(0, PEOPLE_LISTED);
	syncList($.people, names, (name) => {
		const person = element('button.person', { dir: 'auto', tabIndex: -1, dataset: { insert: name } }, name);
		return element('li', {}, avatarOf(name), person);
	}, (item, name) => {
		const self = sameName(name, chat.name);
		item.classList.toggle('self', self);
		paint(item, self ? ownHue() : authors.get(name.toLowerCase()) ?? name);
	});
	setText($.memberCount, memberCount || '');
	const rest = Object.entries({ andMore: memberCount - names.length, listening: listenerCount });
	setText($.listeners, rest.filter(([, n]) => n > 0).map(([key, n]) => say(key, { n })).join(' · '));
}

export function drawYou() {
	const { available, moderator } = page.moderation;
	$.own.hidden = !chat.name;
	setText($.ownName, chat.name);
	$.ownAvatar.dataset.letter = letterOf(chat.name);
	paint($.own, ownHue());
	$.notify.value = local.get('notify') ?? 'off';
	$.notNotified.hidden = $.notify.value === 'off' || window.Notification?.permission === 'granted';
	$.sound.checked = Boolean(local.get('sound'));
	$.moderation.hidden = !available;
	$.moderator.hidden = $.bans.hidden = !moderator;
	setText($.moderate, say(moderator ? 'logOut' : 'moderate'));
}

// ---- The message and the name

// Where the keyboard is on the screen, Enter starts a line.
const screenKeys = matchMedia('(pointer: coarse) and (not (any-pointer: fine))');
export const typesOnScreen = () => screenKeys.matches;

export const focusWriting = () => ($.join.hidden ? $.text : $.name).focus();

export function drawComposer() {
	const { naming, nameError } = page;
	const usable = isRoomName(chat.open);
	const text = $.text;
	$.join.hidden = !usable || !(naming || !chat.name);
	$.composer.hidden = !usable || !(chat.name || text.value || document.activeElement === text);
	$.joinCancel.hidden = !chat.name;
	const { code } = nameError;
	setText($.nameHelp, code ? say.error(nameError) : say(chat.name ? 'renameHelp' : 'joinHelp'));
	$.nameHelp.classList.toggle('problem', Boolean(code));
	$.name.ariaInvalid = code ? 'true' : null;
	text.placeholder = say('messageTo', { room: chat.open });
	text.enterKeyHint = typesOnScreen() ? 'enter' : 'send';
	$.grow.dataset.text = `${text.value}\u200b`; // Gives the field its height.
	const left = TEXT_BYTES - new TextEncoder().encode(text.value.trimEnd()).length;
	$.send.disabled = left < 0 || !text.value.trim() || !chat.name || chat.pending.length >= PENDING_MOST;
	const counter = say(left < 0 ? 'over' : 'left', { n: Math.abs(left) });
	setText($.composerHelp, left < COUNTED_BYTES ? counter : typesOnScreen() ? '' : say('composerHelp'));
	$.composerHelp.classList.toggle('problem', left < 0);
}

/** Replaces what is between `from` and the caret. `after` matches what has to stand before. */
export function insert(text, { from = $.text.selectionStart, after = /$/ } = {}) {
	const field = $.text;
	field.focus();
	const before = field.value.slice(0, from);
	field.setSelectionRange(from, field.selectionEnd);
	// Nothing else keeps the browser's undo.
	document.execCommand('insertText', false, (!before || after.test(before) ? '' : text.startsWith('>') ? '\n' : ' ') + text);
}

export function listenToText(send, names) {
	const field = $.text;
	let last; // Another Tab replaces it.

	function complete() {
		const again = last?.value === field.value && last.end === field.selectionStart;
		const found = again ? last : { ...completionsAt(field.value, field.selectionStart, names()), at: -1 };
		if (found.names.length <= Number(again)) return false;
		const at = (found.at + 1) % found.names.length;
		insert(`${found.names[at]} `, found);
		last = { ...found, at, end: field.selectionStart, value: field.value };
		return true;
	}

	field.addEventListener('keydown', (event) => {
		const { key, shiftKey, ctrlKey, metaKey, altKey, isComposing, keyCode } = event;
		// An input method's Enter: in Safari it is 229, and no longer composing.
		if (isComposing || keyCode === 229 || shiftKey || altKey) return;
		const modified = ctrlKey || metaKey;
		const sends = key === 'Enter' && (modified || !typesOnScreen());
		if (sends || (key === 'Tab' && !modified && complete())) event.preventDefault();
		if (sends) send();
	});
}
