// What is drawn beside the log. Texts never enter the document as HTML.

import { chat, current, followed, local } from './start.js';
import { completionsAt, fittingIn, fragmentOf, hueOf, isPrivate, isRoomName, labelOf, partsOf, sameName } from './text.js';
import { LANGUAGES } from './words.js';
import { PENDING_MOST } from './network.js';
import { isMention, unreadOf } from './state.js';

// The count tells of the rest.
const PEOPLE_LISTED = 200;
// As the server has it by default.
const TEXT_BYTES = 4096;
const NAMES_OFFERED = 6;
const TOAST_MILLIS = 2000;

/** What is shown and belongs to no room. @type {any} */
export const page = { listed: [], naming: false, nameError: {}, me: { asked: true } };

/** `$.ownName` is the element `own-name`. @type {Record<string, any>} */
export const $ = new Proxy({}, { get: (_, key) => document.getElementById(String(key).replace(/[A-Z]/g, '-$&').toLowerCase()) });

export let say;
let toasting;

/** In the document, `data-aria-label="close"` gives the property `ariaLabel` its words. */
export function translate(words) {
	say = words;
	document.documentElement.lang = say.language;
	for (const node of $.app.querySelectorAll('*')) {
		for (const [property, key] of Object.entries(node.dataset)) node[property] = say(key);
	}
	const options = LANGUAGES.map((value) => element('option', { value }, new Intl.DisplayNames(value, { type: 'language' }).of(value)));
	$.language.append(...options);
	$.language.value = say.language;
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

/** A drawing of those in the document. */
export function icon(name) {
	const [svg, use] = ['svg', 'use'].map((tag) => document.createElementNS('http://www.w3.org/2000/svg', tag));
	use.setAttribute('href', `#i-${name}`);
	svg.append(use);
	return svg;
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

/** Gives a person's colour. A neighbour `above` who happens to have it too gets another tone. */
export function paint(node, key, above = { key: '', solid: false }) {
	const hue = hueOf(key);
	const solid = above.key === key ? above.solid : Boolean(above.key) && !above.solid && hueOf(above.key) === hue;
	node.style.setProperty('--hue', hue);
	node.classList.toggle('solid', solid);
	return { key, solid };
}

/** The author, where one is known, is the same under every name. */
export const colourOf = (name, author = [current(), ...chat.rooms.values()].map(({ authors }) => authors.get(name.toLowerCase())).find(Boolean)) => author ?? name;

const letterOf = (name) => [...name][0]?.toUpperCase() ?? '';

// The letter is generated content: it is not copied with a message.
export const avatarOf = (name) => element('span.avatar', { ariaHidden: 'true', dataset: { letter: letterOf(name) } });

/** A page over plain HTTP has no `navigator.clipboard`. */
export async function copyText(value) {
	if (navigator.clipboard) await navigator.clipboard.writeText(value);
	else {
		const field = element('textarea', { value, className: 'unseen' });
		document.body.append(field);
		field.select();
		document.execCommand('copy');
		field.remove();
	}
	toast(say('copied'));
}

export function toast(text) {
	$.toast.showPopover();
	setText($.toast, text);
	clearTimeout(toasting);
	toasting = setTimeout(() => $.toast.hidePopover(), TOAST_MILLIS);
}

// What an icon means, and names that are cut off.
document.onmouseover = (/** @type {any} */ { target }) => {
	const node = target.closest('.icon, h1, .rooms a, .person, .name, #own-name');
	if (node) node.title = node.matches('.icon') ? node.ariaLabel : node.scrollWidth > node.clientWidth ? node.textContent : '';
};

/** The button of a menu. */
export const moreOf = (label) => element('button.more.icon', { tabIndex: -1, ariaHasPopup: 'menu', ariaLabel: `${label}, ${say('actions')}` }, icon('more'));

/** By the arrow keys, up and down. */
export function moveFocus(nodes, key) {
	const step = { ArrowDown: 1, ArrowUp: -1 }[key];
	if (step) nodes[nodes.indexOf(document.activeElement) + step]?.focus();
	return Boolean(step);
}

// ---- The side panel and the bar

for (const limit of ['70rem', '48rem']) matchMedia(`(width < ${limit}), (height < 30rem)`).onchange = () => showSide('');

/** Opens `side` or `crowd` over the conversation, unless it stands beside it. */
export function showSide(id) {
	const opens = Boolean(id) && !$[id].offsetWidth;
	for (const [panel, opener] of [['side', $.menu], ['crowd', $.here]]) {
		document.body.classList.toggle(`${panel}-open`, opens && panel === id);
		opener.ariaExpanded = String(opens && panel === id);
	}
	$.bar.inert = $.main.inert = opens;
	if (opens) $[id].querySelector('.close').focus();
	$.rooms.querySelector('[aria-current]')?.scrollIntoView({ block: 'nearest' });
}

export function closeSide() {
	if (!$.main.inert) return;
	/** @type {HTMLElement | null} */
	const opener = $.bar.querySelector('[aria-expanded=true]');
	showSide('');
	opener?.focus();
}

export function drawConnection() {
	const { settled, memberCount } = current();
	const { connection, open, refused } = chat;
	const bad = !isRoomName(open);
	const problem = bad ? { message: say('badRoom') } : refused.get(open) ?? connection.problem ?? (page.me.user && page.nameError.code ? page.nameError : undefined);
	const phase = bad || refused.has(open) ? 'refused' : connection.phase === 'connected' && !settled ? 'connecting' : connection.phase;
	const wait = Math.ceil(((connection.until ?? 0) - Date.now()) / 1000);
	$.statusDot.className = `dot ${phase}`;
	setText($.status, say(phase));
	// Only read out.
	$.status.classList.toggle('unseen', phase === 'connected');
	$.here.hidden = phase !== 'connected' || !memberCount;
	$.here.ariaLabel = say('here', { n: memberCount });
	setText($.hereCount, memberCount);
	// A live region would read out each second.
	setText($.countdown, phase === 'waiting' && wait > 0 ? say('inSeconds', { n: wait }) : '');
	$.notice.hidden = !problem || (page.naming && !page.me.user);
	setText($.noticeText, problem ? say.error(problem) : '');
	$.tryAgain.hidden = bad;
}

/** The second private room of one label has its number. */
export function titleOf(room) {
	const title = labelOf(room) || say('private');
	const at = isPrivate(room) ? followed().filter((other) => isPrivate(other) && labelOf(other) === labelOf(room)).indexOf(room) : 0;
	return at > 0 ? `${title} ${at + 1}` : title;
}
/** Within a text, where no icon tells a private room. */
export const nameOf = (room, lock = '🔒 ') => (isPrivate(room) ? lock : '#') + titleOf(room);

export function drawRooms() {
	const { listed } = page;
	const rowOf = (room) => {
		const { memberCount = 0 } = listed.find((other) => other.room === room) ?? {};
		const state = chat.rooms.get(room);
		const unread = state ? unreadOf(chat, state) : [];
		const mentioned = unread.filter((entry) => isMention(chat, entry)).length;
		return { key: room, memberCount, unread: unread.length, mentioned };
	};
	const own = [...new Set([...chat.asked, ...followed(), chat.open])];
	const others = listed.map(({ room }) => room).filter((room) => !own.includes(room));
	// Always in one order: they do not move under the pointer.
	const { compare } = new Intl.Collator(say.locale, { numeric: true });
	const inOrder = (rooms) => rooms.sort((a, b) => compare(titleOf(a), titleOf(b)) || compare(a, b));
	const show = (list, rooms, followed) => syncList(list, inOrder(rooms).map(rowOf), ({ key: room }) => {
		const link = element('a', { href: fragmentOf(room) }, isPrivate(room) ? icon('lock') : '', element('bdi'));
		const button = element('button.leave.icon', { dataset: { leave: room } }, icon('close'));
		return element('li', {}, link, element('span.badge', { ariaHidden: 'true' }, icon('people'), element('span')), button);
	}, ({ children: [link, badge, button] }, { key: room, memberCount, unread, mentioned }) => {
		const here = !followed && memberCount;
		const words = [titleOf(room), labelOf(room) !== room && say('private'), ...countsOf(unread, mentioned), here && say('here', { n: here })].filter(Boolean);
		setText(link.lastChild, titleOf(room));
		button.ariaLabel = say('leave', { room: nameOf(room) });
		link.ariaCurrent = room === chat.open ? 'page' : null;
		link.ariaLabel = words.length > 1 ? words.join(', ') : null;
		link.classList.toggle('unread', unread > 0);
		badge.classList.toggle('mentioned', mentioned > 0);
		setText(badge.lastChild, mentioned ? `@${mentioned}` : unread || here || '');
		button.hidden = !followed || (own.length < 2 && !isPrivate(room));
	});
	const elsewhere = own.filter((room) => room !== chat.open).map(rowOf);
	const [unread, mentioned] = ['unread', 'mentioned'].map((key) => elsewhere.reduce((sum, row) => sum + row[key], 0));
	$.menu.ariaLabel = [say('rooms'), ...countsOf(unread, mentioned)].join(', ');
	$.menu.classList.toggle('unread', unread > 0);
	$.menu.classList.toggle('mentioned', mentioned > 0);
	show($.rooms, own, true);
	show($.otherRooms, others, false);
	$.others.hidden = !others.length;
}

const countsOf = (unread, mentioned) => [unread && say('unread', { n: unread }), mentioned && say('mentioned', { n: mentioned })].filter(Boolean);

export function drawTitle() {
	const { open, rooms } = chat;
	const hidden = isPrivate(open);
	setText($.roomTitle, titleOf(open));
	$.roomLock.toggleAttribute('hidden', !hidden);
	for (const button of [$.invite, $.inviteEmpty]) setText(button, say(hidden ? 'copyLink' : 'invite'));
	const unread = [...rooms.values()].reduce((sum, room) => sum + unreadOf(chat, room).length, 0);
	document.title = `${unread ? `(${unread}) ` : ''}${nameOf(open)} · chatroom`;
	const icon = `favicon${unread ? '-unread' : ''}.svg`;
	if ($.icon.getAttribute('href') !== icon) $.icon.href = icon;
}

$.people.onkeydown = (event) => void (moveFocus([...$.people.querySelectorAll('button:not([hidden])')], event.key) && event.preventDefault());

export function drawPeople() {
	const { members, memberCount, listenerCount } = current();
	const names = [...members.values()].sort((a, b) => a.localeCompare(b)).slice(0, PEOPLE_LISTED);
	let above;
	syncList($.people, names, (name) => {
		const person = element('button.person', { dir: 'auto', tabIndex: -1, dataset: { insert: name } }, name);
		return element('li', {}, avatarOf(name), person, moreOf(name));
	}, (item, name) => {
		item.children[1].tabIndex = name === names[0] ? 0 : -1;
		item.lastChild.hidden = !page.me.moderator || sameName(name, chat.name);
		item.classList.toggle('self', sameName(name, chat.name));
		above = paint(item, colourOf(name), above);
	});
	setText($.memberCount, memberCount || '');
	const rest = Object.entries({ andMore: memberCount - names.length, listening: listenerCount });
	setText($.listeners, rest.filter(([, n]) => n > 0).map(([key, n]) => say(key, { n })).join(' · '));
}

export function drawYou() {
	const { author, user, moderators, moderator, noPassword } = page.me;
	$.ownAvatar.hidden = !chat.name;
	$.rename.hidden = !chat.name || user;
	$.takeAlong.hidden = !author || user;
	setText($.ownName, chat.name);
	$.ownAvatar.dataset.letter = letterOf(chat.name);
	paint($.own, colourOf(chat.name));
	$.notify.value = local.get('notify') ?? 'off';
	$.notNotified.hidden = $.notify.value === 'off' || window.Notification?.permission === 'granted';
	$.sound.checked = Boolean(local.get('sound'));
	$.moderation.hidden = !moderators || (noPassword && !moderator);
	$.moderator.hidden = $.bans.hidden = !moderator;
	$.moderate.hidden = noPassword;
	setText($.moderate, say(moderator ? 'logOut' : 'moderate'));
}

// ---- The message and the name

// Where the keyboard is on the screen, Enter starts a line.
const screenKeys = matchMedia('(pointer: coarse) and (not (any-pointer: fine))');
export const typesOnScreen = () => screenKeys.matches;

export const focusWriting = () => ($.join.hidden ? $.text : $.name).focus();

export function drawComposer() {
	const { naming, nameError, me } = page;
	const usable = isRoomName(chat.open);
	const text = $.text;
	$.join.hidden = !usable || me.asked || me.user || !(naming || !chat.name);
	$.composer.hidden = !usable || !(chat.name || text.value || document.activeElement === text);
	$.joinCancel.hidden = !chat.name;
	$.samePerson.hidden = chat.name;
	setText($.joinNow, say(chat.name ? 'save' : 'join'));
	const { code } = nameError;
	setText($.nameHelp, code ? say.error(nameError) : say(chat.name ? 'renameHelp' : 'joinHelp'));
	$.nameHelp.classList.toggle('problem', Boolean(code));
	$.name.ariaInvalid = code ? 'true' : null;
	text.placeholder = say('messageTo', { room: nameOf(chat.open, '') });
	text.enterKeyHint = typesOnScreen() ? 'enter' : 'send';
	if (draft.text !== text.value) measure();
	const { written, over, parts } = draft;
	const full = !chat.name || chat.pending.length >= PENDING_MOST;
	$.send.disabled = full || over > 0 || !written.trim();
	setText($.composerHelp, over ? say('over', { n: over }) : typesOnScreen() ? '' : say('composerHelp'));
	$.composerHelp.classList.toggle('problem', over > 0);
	$.split.hidden = full || parts.length < 2;
	setText($.split, say('split', { n: parts.length }));
}

/** What is written: more than one part where it is too long for one, and none where it is for all that may wait. */
export let draft = { text: '', written: '', over: 0, parts: [''] };

function measure() {
	const text = $.text.value;
	// Gives the field its height.
	$.grow.dataset.text = `${text.slice(0, TEXT_BYTES)}\u200b`;
	const written = text.trimEnd();
	draft = { text, written, over: [...written.slice(fittingIn(written, TEXT_BYTES))].length, parts: partsOf(written, TEXT_BYTES, PENDING_MOST) };
}

/** Replaces what is between `from` and `to`. `after` matches what has to stand before. */
export function insert(text, { from = $.text.selectionStart, to = $.text.selectionEnd, after = /$/ } = {}) {
	const field = $.text;
	field.focus();
	const before = field.value.slice(0, from);
	field.setSelectionRange(from, to);
	// Nothing else keeps the browser's undo.
	document.execCommand('insertText', false, (!before || after.test(before) ? '' : ' ') + text);
}

export function listenToText(send, names) {
	const field = $.text;
	/** @type {any} */
	let offered = { names: [] };
	let chosen = 0;

	/** Shows the names that may be meant, with the one that Enter takes. */
	function offer(/** @type {any} */ found = { names: [] }, at = 0) {
		offered = { ...found, names: found.names.slice(0, NAMES_OFFERED) };
		chosen = at;
		$.names.hidden = !offered.names.length;
		field.setAttribute('aria-activedescendant', $.names.hidden ? '' : `name-${at}`);
		$.names.replaceChildren(...offered.names.map((name, n) => {
			const item = element('li', { id: `name-${n}`, role: 'option', ariaSelected: String(n === at) }, avatarOf(name), element('span.person', { dir: 'auto' }, name));
			paint(item, colourOf(name));
			return item;
		}));
	}

	function take(at) {
		insert(`${offered.names[at]} `, offered);
		offer();
	}

	/** Whether the key was meant for the names. */
	function choose(key) {
		if (key === 'Tab' && $.names.hidden) {
			offer(completionsAt(field.value, field.selectionStart, names()));
			if (offered.names.length > 1) return true;
		}
		const { length } = offered.names;
		const step = { ArrowDown: 1, ArrowUp: -1 }[key];
		if (!length || !(step || ['Enter', 'Tab', 'Escape'].includes(key))) return false;
		if (step) offer(offered, (chosen + step + length) % length);
		else if (key === 'Escape') offer();
		else take(chosen);
		return true;
	}

	field.addEventListener('input', () => {
		const { selectionStart: caret, value } = field;
		const found = completionsAt(value, caret, names());
		const whole = found.names.some((name) => sameName(name, value.slice(found.from, caret)));
		offer(found.at && !whole ? found : undefined);
	});
	field.addEventListener('blur', () => offer());
	// The field keeps the focus.
	$.names.onpointerdown = (event) => event.preventDefault();
	$.names.onclick = ({ target }) => take([...$.names.children].indexOf(target.closest('li')));

	field.addEventListener('keydown', (event) => {
		const { key, shiftKey, ctrlKey, metaKey, altKey, isComposing, keyCode } = event;
		// An input method's Enter: in Safari it is 229, and no longer composing.
		if (isComposing || keyCode === 229 || shiftKey || altKey) return;
		const modified = ctrlKey || metaKey;
		if (!modified && choose(key)) return event.preventDefault();
		const sends = key === 'Enter' && (modified || !typesOnScreen());
		const page = { PageUp: -1, PageDown: 1 }[key];
		if (page) $.scroller.scrollBy(0, page * 0.9 * $.scroller.clientHeight);
		if (sends || page) event.preventDefault();
		if (sends) send();
	});
}
