// The log of the room that is shown. Nothing else scrolls it.

import { $, avatarOf, element, setText, syncList } from './views.js';
import { followNewest, lastOf, LIMITS, moveView, readUpTo, rowsOf, setFollowing, unreadOf } from './state.js';
import { hueOf, tokensOf } from './text.js';

const END_PIXELS = 8; // As near counts as at the end.
const SPOKEN = 5; // Lines kept for screen readers.

export function openLog({ loadOlder, changed, current }) {
	const [scroller, log] = [$.scroller, $.log];
	let drawn = null;
	let lastTop = 0;

	function onScroll() {
		const state = current();
		if (state !== drawn) return;
		const { scrollTop, scrollHeight, clientHeight } = scroller;
		const atEnd = scrollHeight - scrollTop - clientHeight < END_PIXELS && state.view.to === state.entries.length;
		// Only a move upward is surely the reader's: rows that come and go also scroll.
		const following = atEnd || (state.view.following && scrollTop >= lastTop);
		lastTop = scrollTop;
		if (following !== state.view.following) {
			state.seeking = false;
			setFollowing(state, following);
			changed();
		}
		if (!following) state.anchor = anchorOf();
		fill(state);
	}

	/** Moves the rendered part on near its ends. */
	function fill(state) {
		const { view, entries } = state;
		const { scrollTop, scrollHeight, clientHeight } = scroller;
		const nearTop = scrollTop < clientHeight;
		if (nearTop && view.from === 0) loadOlder(state);
		if (nearTop && view.from > 0 && !view.following) moveView(state, -LIMITS.page);
		else if (scrollHeight - scrollTop < 2 * clientHeight && view.to < entries.length) moveView(state, LIMITS.page);
		else return;
		changed();
	}

	// The first message in sight stays where it is while rows come and go above it.
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
			state.anchor = anchorOf();
		} else if (state.view.following) {
			scroller.scrollTop = scroller.scrollHeight;
		} else if (anchor) {
			const node = log.querySelector(`[data-id="${anchor.id}"]`);
			if (node && Math.abs(node.offsetTop - scroller.scrollTop - anchor.offset) >= 1) scroller.scrollTop = node.offsetTop - anchor.offset;
		}
		if (state.greeted && Date.now() > state.backlogUntil) state.seeking = false;
		lastTop = scroller.scrollTop;
	}

	function draw({ chat, say }, state) {
		if (drawn !== state) log.replaceChildren();
		drawn = state;
		syncList(log, rowsOf(chat, state), ({ key }) => key, (row) => rowElement(row, say), (node, { kind, entry, n }) => {
			if (kind === 'day') setText(node.firstChild, say.day(entry.sentAt));
			if (kind === 'removed') setText(node.firstChild, say('removed', { n }));
		});
		drawPending(chat, say);
		const empty = !state.entries.length;
		$.oldest.hidden = empty ? !state.greeted : state.view.from > 0 || !state.oldestReached;
		setText($.oldestText, say(empty ? 'empty' : 'beginning'));
		$.inviteEmpty.hidden = !empty;
		place(state);
		$.jump.hidden = state.view.following;
		const n = unreadOf(chat, state).length;
		setText($.jump, say(n ? 'newMessages' : 'newest', { n }));
		if (state.attended && state.view.following && !state.seeking) readUpTo(state, lastOf(state).eventId);
	}

	scroller.addEventListener('scroll', onScroll, { passive: true });
	new ResizeObserver(() => drawn && place(drawn)).observe(scroller);
	return {
		draw,
		fill,
		/** New messages are read out, but not the history that scrolling brings. */
		speak({ name, text }) {
			$.spoken.append(element('p', {}, `${name}: ${text}`));
			if ($.spoken.childElementCount > SPOKEN) $.spoken.firstChild.remove();
		},
		jump(state) {
			followNewest(state);
			state.seeking = false;
		},
	};
}

/** Enter leads from the log to the messages: they are too many to be stops of the Tab key. */
export function onLogKey(event) {
	const { key, target } = event;
	const scroller = $.scroller;
	const buttons = [...$.log.querySelectorAll('.more')];
	if (key === 'Enter' && target === scroller) buttons.findLast(({ parentNode: { parentNode } }) => parentNode.offsetTop < scroller.scrollTop + scroller.clientHeight)?.focus();
	else if (target.className !== 'more') return;
	else if (key === 'Escape') scroller.focus();
	else if (!moveFocus(buttons, key)) return;
	event.preventDefault();
}

export function moveFocus(nodes, key) {
	const step = { ArrowDown: 1, ArrowUp: -1 }[key];
	if (step) nodes[nodes.indexOf(document.activeElement) + step]?.focus();
	return Boolean(step);
}

function rowElement({ kind, entry, ...row }, say) {
	if (kind === 'message') return messageElement(entry, row, say);
	if (kind === 'gap') return element('p.gap', {}, say(entry.reason === 'expired' ? 'gapExpired' : 'gapUnknown'));
	return element(`p.${kind}`, {}, element('span', {}, kind === 'new' ? say('newLine') : ''));
}

/** @param {any} row */
function messageElement({ name, author, member, changed, sentAt, text, eventId: id }, row, say) {
	const { head, own, mention, timed } = row;
	const hue = hueOf(author ?? name);
	const time = element('time', { dateTime: new Date(sentAt).toISOString() }, say.time(sentAt));
	const tags = Object.entries({ viaApi: !member, differentPerson: head && changed }).filter(([, on]) => on).map(([key]) => element(`span.tag.${key}`, {}, say(key)));
	const person = element('button.name', { dir: 'auto', tabIndex: -1, dataset: { insert: name } }, name);
	const heading = element(head ? 'p.heading' : 'p.heading.again', {}, person, ...tags, head ? time : '');
	const bubble = element('div.bubble', {}, element('div.text', { dir: 'auto' }, ...tokensOf(text).map(tokenElement)));
	const more = element('button.more', { tabIndex: -1, ariaHasPopup: 'menu', ariaLabel: say('actions') });
	const line = element('div.line', {}, bubble, timed && !head ? time : '', more);
	const node = element('div.message', { title: say.full(sentAt), dataset: { id } }, head ? avatarOf(name, hue) : element('span'), heading, line);
	for (const [key, on] of Object.entries({ head, own, mention })) node.classList.toggle(key, on);
	node.style.setProperty('--hue', hue);
	return node;
}

/** @param {Token} token */
function tokenElement({ kind, text, tokens = [], language }) {
	if (kind === 'text') return text;
	if (kind === 'link') return element('a', { href: text, dir: 'ltr', target: '_blank', rel: 'noopener noreferrer' }, text);
	if (kind === 'code') return element('code', {}, text);
	// A block that is scrolled sideways has to be reached by keyboard.
	if (kind === 'pre') return element('pre', { dir: 'ltr', tabIndex: 0, dataset: language && { language } }, element('code', {}, text));
	return element(kind, {}, ...tokens.map(tokenElement));
}

function drawPending({ pending, open, connection }, say) {
	const shown = pending.filter(({ room, seenAs }) => room === open && !seenAs);
	$.pending.hidden = !shown.length;
	syncList($.pending, shown, ({ key }) => key, ({ key, text }) => {
		const buttons = ['retry', 'discard'].map((action) => element('button.plain', { dataset: { action, key } }, say(action)));
		return element('li', {}, element('div.text', { dir: 'auto' }, text), element('p.foot', {}, element('span'), ...buttons));
	}, (node, { status, error, retryAt }) => {
		const [words, retry, discard] = node.lastChild.children;
		const idle = status === 'failed' || status === 'queued';
		const limited = status === 'queued' && error?.code === 'too-many-messages';
		const n = Math.max(1, Math.ceil((retryAt - Date.now()) / 1000));
		const waiting = connection.phase === 'connected' && retryAt < Date.now() ? 'inLine' : 'queued';
		setText(words, limited ? say('rateLimited', { n }) : !idle ? say('sending') : error ? say.error(error) : say(waiting));
		node.className = status;
		retry.hidden = !idle || limited;
		discard.hidden = !idle;
	});
}
