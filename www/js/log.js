// The log of the room that is shown; menus and dialogs about its messages.

import { $, avatarOf, colourOf, copyText, element, icon, insert, page, paint, say, setText, syncList, toast } from './views.js';
import { chat, current, follows, local, tab } from './start.js';
import {
	addOlder, endSeeking, followNewest, isOwn, isReading, isWhole, lastOf, LIMITS, moveView, pendingRowsOf, readUpTo, rowsOf, setAnchor, setFollowing, unreadOf,
} from './state.js';
import { request, roomPath } from './network.js';
import { codeOfFragment, fragmentOfCode, isEmoji, quoteOf, tokensOf } from './text.js';

// This close counts as at the end.
const END_PIXELS = 8;
// As the style has it.
const FOLDED_LINES = 20;
// Lines, for screen readers.
const SPOKEN = 5;
// Of a message.
const LABEL_CHARACTERS = 80;
// Before it is said.
const SENDING_MILLIS = 2000;
// Before older messages are asked for again.
const RETRY_MILLIS = 2000;
// As the server takes it.
const CARRIED_BYTES = 4096;
const BAN_MINUTES = { hour: 60, day: 1440, week: 10_080, year: 525_600 };

export function openLog(changed) {
	const { scroller, log } = $;
	let drawn;
	let lastTop = 0;
	let loading = false;

	scroller.onscroll = () => {
		const state = current();
		if (state !== drawn) return;
		const { scrollTop, scrollHeight, clientHeight } = scroller;
		const atEnd = scrollHeight - scrollTop - clientHeight < END_PIXELS && state.view.to === state.entries.length;
		// Only a move upward is surely the reader's.
		const following = atEnd || (state.view.following && scrollTop >= lastTop);
		lastTop = scrollTop;
		if (following !== state.view.following) {
			endSeeking(state);
			setFollowing(state, following);
			changed();
		}
		if (!following) setAnchor(state, anchorOf());
		fill();
	};

	/** Moves the rendered part when near its ends. */
	function fill() {
		const state = current();
		const { view, entries } = state;
		const { scrollTop, scrollHeight, clientHeight } = scroller;
		const nearTop = scrollTop < clientHeight;
		if (nearTop && view.from === 0) loadOlder(state);
		if (nearTop && view.from > 0 && !view.following) moveView(state, -LIMITS.page);
		else if (scrollHeight - scrollTop < 2 * clientHeight && view.to < entries.length) moveView(state, LIMITS.page);
		else return;
		changed();
	}

	async function loadOlder(state) {
		const { begin, entries } = state;
		const before = begin ? begin.replace(/\d+$/, (sequence) => String(Number(sequence) + 1)) : entries.find((entry) => !entry.gap)?.eventId;
		if (loading || state.oldestReached || !before) return;
		loading = true;
		const { body } = await request(`${roomPath(state.room)}/messages?before=${before}&limit=${LIMITS.page}`);
		if (body) addOlder(state, body.messages, LIMITS.page);
		else await new Promise((resolve) => setTimeout(resolve, RETRY_MILLIS));
		loading = false;
		changed();
	}

	// The first message in sight stays where it is.
	function anchorOf() {
		const node = [...log.children].find((row) => row.dataset.id && row.offsetTop + row.offsetHeight > scroller.scrollTop);
		return node && { id: node.dataset.id, offset: node.offsetTop - scroller.scrollTop };
	}

	function place(state) {
		const line = state.seeking && log.querySelector('.new');
		const { anchor } = state;
		if (line && line.offsetTop < scroller.scrollHeight - scroller.clientHeight) {
			setFollowing(state, false);
			scroller.scrollTop = line.offsetTop;
			setAnchor(state, anchorOf());
		} else if (state.view.following) {
			scroller.scrollTop = scroller.scrollHeight;
		} else if (anchor) {
			const node = log.querySelector(`[data-id="${anchor.id}"]`);
			if (node && Math.abs(node.offsetTop - scroller.scrollTop - anchor.offset) >= 1) scroller.scrollTop = node.offsetTop - anchor.offset;
		}
		if (isWhole(chat, state)) endSeeking(state);
		lastTop = scroller.scrollTop;
	}

	/** Shows a long message in part. */
	function fold() {
		const fresh = [...scroller.querySelectorAll('.text:not(.measured)')];
		const lines = fresh.map((node) => Math.round(node.offsetHeight / parseFloat(getComputedStyle(node).lineHeight)));
		for (const [at, node] of fresh.entries()) {
			node.classList.add('measured');
			if (lines[at] <= FOLDED_LINES) continue;
			node.classList.add('folded');
			node.after(element('button.plain.fold', {}, say('showAll', { n: lines[at] })));
		}
	}

	function unfold(button) {
		const state = current();
		const { id } = button.closest('.message').dataset;
		for (const entry of state.entries) if (entry.eventId === id) entry.unfolded = true;
		// What was read stays where it is.
		setFollowing(state, false);
		setAnchor(state, anchorOf());
		button.previousSibling.classList.remove('folded');
		button.remove();
		changed();
	}

	scroller.addEventListener('click', ({ target }) => target.matches('.fold') && unfold(target));
	// A finger that rests on a message means its menu, which would close if it opened before the finger leaves.
	log.addEventListener('contextmenu', (event) => {
		if (!fingers.matches || !event.target.closest('.bubble') || event.target.closest('a')) return;
		event.preventDefault();
		event.target.addEventListener('touchend', () => event.target.click(), { once: true });
	});
	scroller.addEventListener('keydown', ({ key }) => {
		if (key !== 'End') return;
		followNewest(current());
		endSeeking(current());
		changed();
	});

	function draw() {
		const state = current();
		if (drawn !== state) log.replaceChildren();
		drawn = state;
		let above;
		syncList(log, rowsOf(chat, state), rowElement, (node, { kind, entry, n, own }) => {
			if (kind === 'message' && !own) above = paint(node, colourOf(entry.name, entry.author), above);
			if (kind === 'day') setText(node.firstChild, say.day(entry.sentAt));
			if (kind !== 'removed') return;
			setText(node.firstChild, say('removed', { n }));
			node.lastChild.hidden = !mayBan(entry);
		});
		drawPending(state);
		fold();
		const empty = !state.entries.length;
		$.oldest.hidden = empty ? !isWhole(chat, state) : state.view.from > 0 || !state.oldestReached;
		$.welcome.hidden = !empty;
		setText($.welcome, say('welcome', { room: state.room }));
		setText($.oldestText, say(!empty ? 'beginning' : chat.name ? 'empty' : 'emptyToReader'));
		$.inviteEmpty.hidden = !empty;
		place(state);
		$.jump.hidden = state.view.following;
		const n = unreadOf(chat, state).length;
		setText($.jumpText, say(n ? 'newMessages' : 'newest', { n }));
		if (isReading(state)) readUpTo(state, lastOf(state).eventId);
	}

	new ResizeObserver(() => drawn && place(drawn)).observe(scroller);
	return {
		draw,
		fill,
		/** Screen readers read it out. */
		speak({ name, text }) {
			$.spoken.append(element('p', {}, `${name}: ${text}`));
			if ($.spoken.childElementCount > SPOKEN) $.spoken.firstChild.remove();
		},
		jump() {
			followNewest(current());
			endSeeking(current());
		},
	};
}

/** The messages are too many for the Tab key: Enter leads to them. */
export function onLogKey(event) {
	const { key, target } = event;
	const { scroller, log } = $;
	const buttons = [...log.querySelectorAll('.more:not([hidden])')];
	const inSight = (button) => button.closest('[data-id]').offsetTop < scroller.scrollTop + scroller.clientHeight;
	if (key === 'Enter' && target === scroller) buttons.findLast(inSight)?.focus();
	else if (!target.matches('.more')) return;
	else if (key === 'Escape') scroller.focus();
	else if (!moveFocus(buttons, key)) return;
	event.preventDefault();
}

function moveFocus(nodes, key) {
	const step = { ArrowDown: 1, ArrowUp: -1 }[key];
	if (step) nodes[nodes.indexOf(document.activeElement) + step]?.focus();
	return Boolean(step);
}

function rowElement({ kind, entry, ...row }) {
	if (kind === 'message') return messageElement(entry, row);
	if (kind === 'gap') return element('p.gap', {}, say('gap'));
	const words = element('span', {}, kind === 'new' ? say('newLine') : '');
	return kind === 'removed' ? element('p.removed', { dataset: { id: entry.eventId } }, words, moreOf(entry.name)) : element(`p.${kind}`, {}, words);
}

/** The button of a menu. */
export const moreOf = (label) => element('button.more.icon', { tabIndex: -1, ariaHasPopup: 'menu', ariaLabel: `${label}, ${say('actions')}` }, icon('more'));

function messageElement({ name, member, changed, sentAt, text, unfolded, eventId: id }, /** @type {any} */ { head, own, mention, timed }) {
	const time = timed ? element('time', { dateTime: new Date(sentAt).toISOString() }, say.time(sentAt)) : '';
	const tag = (key, on) => (on ? element(`span.tag.${key}`, {}, say(key)) : '');
	const person = element('button.name', { dir: 'auto', tabIndex: -1, dataset: { insert: name } }, name);
	const heading = element(head ? 'p.heading' : 'p.heading.again', {}, person, tag('viaApi', !member && !own), tag('differentPerson', head && changed), head ? time : '');
	const body = element('div.text', { dir: 'auto' }, ...tokensOf(text).map(tokenElement));
	body.classList.toggle('emoji', isEmoji(text));
	body.classList.toggle('measured', Boolean(unfolded));
	const bubble = element('div.bubble', {}, body);
	const more = moreOf(`${name}: ${text.slice(0, LABEL_CHARACTERS)}`);
	const line = element('div.line', {}, bubble, head ? '' : time, more);
	const node = element('div.message', { title: say.full(sentAt), dataset: { id } }, head ? avatarOf(name) : element('span'), heading, line);
	for (const [key, on] of Object.entries({ head, own, mention })) node.classList.toggle(key, on);
	return node;
}

/** @param {Token} token */
function tokenElement({ kind, text, tokens = [], language, marker }) {
	if (kind === 'text') return text;
	if (kind === 'item') return element('span.bullet', {}, element('span.marker', {}, marker === '-' ? '•' : marker), ...tokens.map(tokenElement));
	if (kind === 'link') return element('a', { href: /^w/i.test(text) ? `https://${text}` : text, dir: 'ltr', target: '_blank', rel: 'noopener noreferrer' }, text);
	if (kind === 'code') return element('code', {}, text);
	// Focusable, to be scrolled by keyboard.
	if (kind === 'pre') return element('pre', { dir: 'ltr', tabIndex: 0, dataset: language && { language } }, element('code', {}, text));
	return element(kind, {}, ...tokens.map(tokenElement));
}

function drawPending(state) {
	const rows = pendingRowsOf(chat, state);
	$.pending.hidden = !rows.length;
	syncList($.pending, rows, ({ entry, item: { key }, ...row }) => {
		const buttons = ['retry', 'discard'].map((action) => element('button.plain', { dataset: { action, key } }, say(action)));
		const node = messageElement(entry, row);
		node.querySelector('.bubble').append(element('span.progress.quiet', {}));
		return element('li', {}, node, element('p.foot', {}, element('span'), ...buttons));
	}, (node, { item: { status, error, at } }) => {
		const failed = status === 'failed';
		setText(node.querySelector('.progress'), status !== 'queued' && !failed && Date.now() - at > SENDING_MILLIS ? say('sending') : '');
		setText(node.lastChild.firstChild, failed ? say.error(error) : '');
		node.lastChild.hidden = !failed;
		node.className = status;
	});
	const late = ({ status, error, at }) => status === 'queued' && (error || chat.connection.phase !== 'connected' || Date.now() - at > SENDING_MILLIS);
	const waiting = rows.map(({ item }) => item).filter(late);
	const { error, retryAt } = waiting[0] ?? {};
	const seconds = Math.max(1, Math.ceil((retryAt - Date.now()) / 1000));
	$.waiting.hidden = !waiting.length;
	setText($.waitingText, error?.code === 'too-many-messages' ? say('rateLimited', { n: seconds }) : error ? say.error(error) : say('waitingFor', { n: waiting.length }));
}

// ---- The menu of a message, and dialogs

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

const fingers = matchMedia('(hover: none)');

/** Whether a click there opens a message's menu: a finger needs no button, and selects text without it. */
export const opensMenu = (target) => target.matches('.more')
	|| (fingers.matches && target.closest('.bubble') && !target.closest('a, button') && getSelection()?.isCollapsed);

const mayBan = (entry) => page.me.moderator && !isOwn(chat, entry) && (entry.author || entry.here);

/** Of a message, of one that was removed, or of somebody who is here. */
export function openMenu(button, entry) {
	const mayRemove = page.me.moderator || isOwn(chat, entry);
	const actions = [
		entry.text && chat.name && ['reply', () => insert(quoteOf(entry.name, entry.text), { after: /\n$/ })], entry.text && ['copy', () => copyText(entry.text)],
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

function askToRemove({ room, eventId, name }) {
	const body = element('p', {}, say('removeBody', { name, room }));
	ask(say('removeTitle'), [body], say('removeNow'), () => request(`${roomPath(room)}/messages/${eventId}`, 'DELETE'), 'danger');
}

function askToBan({ name, author, room }) {
	const options = Object.entries(BAN_MINUTES).map(([unit, value]) => element('option', { value, selected: unit === 'day' }, say.unit(unit)));
	const box = (key, checked) => element('label.check', {}, element('input', { type: 'checkbox', name: key, checked }), say(key));
	const duration = element('label', {}, say('banFor'), element('select', { name: 'minutes' }, ...options));
	const body = element('p', {}, say('banBody', { name }));
	ask(say('banTitle', { name }), [body, duration, box('banAddress', true), box('banMessages', false)], say('banNow'), async ({ minutes, banAddress, banMessages }) => {
		const banned = author ?? (await authorHere(room, name));
		if (!banned) return { kind: 'failed', message: say('gone', { name }) };
		const answer = await request('bans', 'POST', {
			author: banned, minutes: Number(minutes.value), address: banAddress.checked, removeMessages: banMessages.checked,
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

/** Nobody goes on as somebody else unasked: the link may be another's. */
function askCode(code = '') {
	const field = element('input', { value: code, autocomplete: 'off', spellcheck: false, required: true, ariaLabel: say('code') });
	ask(say('samePerson'), [element('p', {}, say('samePersonBody')), field], say('goOn'), async () => {
		const answer = await request('me', 'POST', { code: field.value.trim() });
		if (answer.kind === 'done') {
			const { name = '', followed = {} } = answer.body;
			for (const area of [local, tab]) area.set('name', name);
			local.set('followed', followed);
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
