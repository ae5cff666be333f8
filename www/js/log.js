// The log: messages of the room that is shown, and the place in it where the reader is. Nothing else scrolls it.

import { $, avatarOf, element, setText, syncList } from './browser.js';
import { endSeeking, followNewest, LIMITS, markRead, moveView, rowsOf, setAnchor, setFollowing } from './state.js';
import { hueOf, tokensOf } from './text.js';

const END_PIXELS = 8; // As near to the end counts as there.
const SPOKEN = 5; // Lines kept for screen readers to finish.

export function openLog({ loadOlder, changed, current }) {
	const [scroller, log] = [$('scroller'), $('log')];
	let drawn = null;
	let lastTop = 0;

	function onScroll() {
		const state = current();
		if (state !== drawn) return;
		const { scrollTop, scrollHeight, clientHeight } = scroller;
		const atEnd = scrollHeight - scrollTop - clientHeight < END_PIXELS && state.view.to === state.entries.length;
		// The place also changes when rows come and go: only a move upward is the reader's own.
		const following = atEnd || (state.view.following && scrollTop >= lastTop);
		lastTop = scrollTop;
		if (following !== state.view.following) {
			endSeeking(state);
			setFollowing(state, following);
			changed();
		}
		if (!following) setAnchor(state, anchorOf());
		fill(state);
	}

	/** Near its end the rendered part moves on. */
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

	// The first message in sight and where it stands: there it is to stay while rows come and go above it.
	function anchorOf() {
		const node = [...log.children].find((row) => row.dataset.id && row.offsetTop + row.offsetHeight > scroller.scrollTop);
		return node && { id: node.dataset.id, offset: node.offsetTop - scroller.scrollTop };
	}

	function place(state) {
		const line = state.seeking && log.querySelector('.new');
		const { anchor } = state;
		if (line && line.offsetTop < scroller.scrollHeight - scroller.clientHeight) {
			setFollowing(state, false);
			state.below = state.unread;
			scroller.scrollTop = line.offsetTop;
			setAnchor(state, anchorOf());
		} else if (state.view.following) {
			scroller.scrollTop = scroller.scrollHeight;
		} else if (anchor) {
			const node = log.querySelector(`[data-id="${anchor.id}"]`);
			if (node && Math.abs(node.offsetTop - scroller.scrollTop - anchor.offset) >= 1) scroller.scrollTop = node.offsetTop - anchor.offset;
		}
		if (state.greeted && Date.now() > state.backlogUntil) endSeeking(state);
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
		$('oldest').hidden = empty ? !state.greeted : state.view.from > 0 || !state.oldestReached;
		setText($('oldest-text'), say(empty ? 'empty' : 'beginning'));
		$('invite-empty').hidden = !empty;
		place(state);
		$('jump').hidden = state.view.following;
		setText($('jump'), state.below ? say('newMessages', { n: state.below }) : say('newest'));
		if (state.attended && state.view.following && !state.seeking) markRead(state);
	}

	scroller.addEventListener('scroll', onScroll, { passive: true });
	new ResizeObserver(() => drawn && place(drawn)).observe(scroller);
	return {
		draw,
		fill,
		/** New messages are read out, but not the history that scrolling brings. */
		speak({ name, text }) {
			$('spoken').append(element('p', { textContent: `${name}: ${text}` }));
			if ($('spoken').childElementCount > SPOKEN) $('spoken').firstChild.remove();
		},
		jump(state) {
			followNewest(state);
			endSeeking(state);
		},
	};
}

/** Messages are reached from the log by Enter, then up and down: they are too many to be stops of the Tab key. */
export function onLogKey(event) {
	const { key, target } = event;
	const scroller = $('scroller');
	const buttons = [...$('log').querySelectorAll('.more')];
	if (key === 'Enter' && target === scroller) buttons.findLast(({ parentNode: { parentNode } }) => parentNode.offsetTop < scroller.scrollTop + scroller.clientHeight)?.focus();
	else if (target.className !== 'more') return;
	else if (key === 'Escape') scroller.focus();
	else if (!moveFocus(buttons, key)) return;
	event.preventDefault();
}

/** Moves up or down among these nodes, if that is what the key says. */
export function moveFocus(nodes, key) {
	const step = { ArrowDown: 1, ArrowUp: -1 }[key];
	if (step) nodes[nodes.indexOf(document.activeElement) + step]?.focus();
	return Boolean(step);
}

/** @returns {any} */
function rowElement({ kind, entry, ...row }, say) {
	if (kind === 'message') return messageElement(entry, row, say);
	if (kind === 'gap') return element('p', { className: kind, textContent: say(entry.reason === 'expired' ? 'gapExpired' : 'gapUnknown') });
	return element('p', { className: kind }, element('span', { textContent: kind === 'new' ? say('newLine') : '' }));
}

/** @param {any} row */
function messageElement(entry, row, say) {
	const { head, own, mention, timed } = row;
	const { name, author, member, changed, sentAt, text, eventId: id } = entry;
	const hue = hueOf(author ?? name);
	const tags = [!member && 'viaApi', head && changed && 'differentPerson'].filter(Boolean).map((key) => element('span', { className: `tag ${key}`, textContent: say(key) }));
	const time = element('time', { dateTime: new Date(sentAt).toISOString(), textContent: say.time(sentAt) });
	const person = element('button', { type: 'button', className: 'name', dir: 'auto', tabIndex: -1, textContent: name, dataset: { insert: name } });
	const heading = element('p', { className: head ? 'heading' : 'heading again' }, person, ...tags, head ? time : '');
	const bubble = element('div', { className: 'bubble' }, element('div', { className: 'text', dir: 'auto' }, ...tokensOf(text).map(tokenElement)));
	const more = element('button', { type: 'button', className: 'more', tabIndex: -1, ariaHasPopup: 'menu', ariaLabel: say('actions') });
	const line = element('div', { className: 'line' }, bubble, timed && !head ? time : '', more);
	const className = ['message', head && 'head', own && 'own', mention && 'mention'].filter(Boolean).join(' ');
	const node = element('div', { className, title: say.full(sentAt), dataset: { id } }, head ? avatarOf(name, hue) : element('span'), heading, line);
	node.style.setProperty('--hue', hue);
	return node;
}

/** @param {import('./text.js').Token} token */
function tokenElement({ kind, text, tokens = [], language }) {
	if (kind === 'text') return text;
	if (kind === 'link') return element('a', { href: text, textContent: text, dir: 'ltr', target: '_blank', rel: 'noopener noreferrer' });
	if (kind === 'code') return element('code', { textContent: text });
	// A block that is scrolled sideways has to be reached by keyboard.
	if (kind === 'pre') return element('pre', { dir: 'ltr', tabIndex: 0, dataset: language && { language } }, element('code', { textContent: text }));
	return element(kind, {}, ...tokens.map(tokenElement));
}

function drawPending({ pending, open, connection }, say) {
	const shown = pending.filter(({ room, seenAs }) => room === open && !seenAs);
	$('pending').hidden = !shown.length;
	syncList($('pending'), shown, ({ key }) => key, ({ key, text }) => {
		const buttons = ['retry', 'discard'].map((action) => element('button', { type: 'button', className: 'plain', textContent: say(action), dataset: { action, key } }));
		return element('li', {}, element('div', { className: 'text', dir: 'auto', textContent: text }), element('p', { className: 'foot' }, element('span'), ...buttons));
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
