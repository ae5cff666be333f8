// The log of the room that is shown.

import { $, avatarOf, colourOf, element, insert, moreOf, moveFocus, nameOf, paint, say, setText, syncList } from './views.js';
import { chat, current } from './start.js';
import {
	addOlder, endSeeking, followNewest, isOwn, isReading, isWhole, lastOf, LIMITS, moveView, pendingRowsOf, readUpTo, rowsOf, seekUnread, setAnchor, setFollowing, unreadOf,
} from './state.js';
import { request, roomPath } from './network.js';
import { fingers, mayBan, openMenu, opensMenu } from './dialogs.js';
import { isEmoji, isPrivate, tokensOf } from './text.js';

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
		// Focusable, to be scrolled by keyboard.
		const wide = [...scroller.querySelectorAll('.text:not(.measured) pre')].filter(({ scrollWidth, clientWidth }) => scrollWidth > clientWidth);
		for (const pre of wide) pre.tabIndex = 0;
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

	scroller.addEventListener('focusin', ({ target }) => {
		const folded = target.closest('.folded:has(:focus-visible)');
		if (folded) unfold(folded.nextSibling);
	});
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
		setText($.welcome, say('welcome', { room: nameOf(state.room, '') }));
		setText($.oldestText, say(!empty ? 'beginning' : isPrivate(state.room) ? 'privateHelp' : chat.name ? 'empty' : 'emptyToReader'));
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
		/** To the unread, or to the newest where they begin in sight or above. */
		jump() {
			const state = current();
			const line = log.querySelector('.new');
			const first = state.entries.indexOf(unreadOf(chat, state)[0]);
			const below = line ? line.offsetTop >= scroller.scrollTop + scroller.clientHeight : first >= state.view.to;
			followNewest(state);
			if (below) seekUnread(chat, state);
			else endSeeking(state);
		},
	};
}

/** In the log, or in the list of people. */
export function onMessageClick({ target }) {
	if (target.dataset.insert && chat.name) return insert(`@${target.dataset.insert} `, { after: /\s$/ });
	const person = target.closest('#people li')?.syncKey;
	if (person && opensMenu(target)) return openMenu(target, { name: person, room: chat.open, here: true });
	const id = target.closest('#log > [data-id]')?.dataset.id;
	const entry = current().entries.find(({ eventId }) => eventId === id);
	if (entry && opensMenu(target)) openMenu(target, entry);
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

function rowElement({ kind, entry, ...row }) {
	if (kind === 'message') return messageElement(entry, row);
	if (kind === 'gap') return element('p.gap', {}, say('gap'));
	const words = element('span', {}, kind === 'new' ? say('newLine') : '');
	return kind === 'removed' ? element('p.removed', { dataset: { id: entry.eventId } }, words, moreOf(entry.name)) : element(`p.${kind}`, {}, words);
}

function messageElement({ name, member, changed, sentAt, text, unfolded, eventId: id }, /** @type {any} */ { head, own, mention, timed }) {
	const time = timed ? element('time', { dateTime: new Date(sentAt).toISOString(), title: say.full(sentAt) }, say.time(sentAt)) : '';
	const tag = (key, on) => (on ? element(`span.tag.${key}`, {}, say(key)) : '');
	const person = element('button.name', { dir: 'auto', tabIndex: -1, dataset: { insert: name } }, name);
	const heading = element(head ? 'p.heading' : 'p.heading.again', {}, person, tag('viaApi', !member && !own), tag('differentPerson', head && changed), head ? time : '');
	const body = element('div.text', { dir: 'auto' }, ...tokensOf(text).map(tokenElement));
	body.classList.toggle('emoji', isEmoji(text));
	body.classList.toggle('measured', Boolean(unfolded));
	const bubble = element('div.bubble', {}, body);
	const more = moreOf(`${name}: ${text.slice(0, LABEL_CHARACTERS)}`);
	const line = element('div.line', {}, bubble, head ? '' : time, more);
	const node = element('div.message', { dataset: { id } }, head ? avatarOf(name) : element('span'), heading, line);
	for (const [key, on] of Object.entries({ head, own, mention })) node.classList.toggle(key, on);
	return node;
}

/** @param {Token} token */
function tokenElement({ kind, text, tokens = [], language, marker }) {
	if (kind === 'text') return text;
	if (kind === 'item') return element('span.bullet', {}, element('span.marker', {}, marker === '-' ? '•' : marker), ...tokens.map(tokenElement));
	if (kind === 'link') return element('a', { href: /^w/i.test(text) ? `https://${text}` : text, dir: 'ltr', target: '_blank', rel: 'noopener noreferrer' }, text);
	if (kind === 'code') return element('code', {}, text);
	if (kind === 'pre') return element('pre', { dir: 'ltr', dataset: language && { language } }, element('code', {}, text));
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
	setText($.waitingText, error?.code === 'too-many-messages' ? say('rateLimited', { n: seconds }) : error ? say.error(error) : say(chat.connection.phase === 'connected' ? 'waitingForServer' : 'waitingFor', { n: waiting.length }));
}
