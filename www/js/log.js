// The log: messages of the room that is shown, and the place in it where the reader is. Nothing else scrolls it.

import { $, avatarOf, element, setText, syncList } from './dom.js';
import { endSeeking, followNewest, LIMITS, markRead, moveView, rowsOf, setAnchor, setFollowing } from './state.js';
import { hueOf, tokensOf } from './text.js';

const END_PIXELS = 8; // As near to the end counts as there.
const SPOKEN = 5; // Lines kept for screen readers to finish.

/**
 * Watches the scroller. `loadOlder` is called near the beginning of what is held, `changed` when the rows to show have changed.
 */
export function openLog({ loadOlder, changed, shown }) {
	const [scroller, log] = [$('scroller'), $('log')];
	let drawn = null; // The room whose rows stand in the log.
	let lastTop = 0;

	const isAtEnd = () => scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < END_PIXELS;

	function onScroll() {
		const { state } = shown();
		if (state !== drawn) return;
		const atEnd = isAtEnd() && state.view.to === state.entries.length;
		// The place also changes when rows come and go: only a move upward is the reader's own.
		const following = atEnd || (state.view.following && scroller.scrollTop >= lastTop);
		lastTop = scroller.scrollTop;
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
		const nearEnd = scrollHeight - scrollTop < 2 * clientHeight;
		if (nearTop && view.from === 0) loadOlder(state);
		if (nearTop && view.from > 0 && !view.following) moveView(state, -LIMITS.page);
		else if (nearEnd && view.to < entries.length) moveView(state, LIMITS.page);
		else return;
		changed();
	}

	// The first message in sight and where it stands: there it is to stay while rows come and go above it.
	function anchorOf() {
		const node = [...log.children].find((row) => row.dataset.id && row.offsetTop + row.offsetHeight > scroller.scrollTop);
		return node ? { id: node.dataset.id, offset: node.offsetTop - scroller.scrollTop } : null;
	}

	function place(state) {
		const line = state.seeking && log.querySelector('.new');
		if (line && line.offsetTop < scroller.scrollHeight - scroller.clientHeight) {
			state.below = state.unread;
			setFollowing(state, false);
			scroller.scrollTop = line.offsetTop;
			setAnchor(state, anchorOf());
		} else if (state.view.following) {
			scroller.scrollTop = scroller.scrollHeight;
		} else if (state.anchor) {
			const node = log.querySelector(`[data-id="${CSS.escape(state.anchor.id)}"]`);
			if (node && Math.abs(node.offsetTop - scroller.scrollTop - state.anchor.offset) >= 1) scroller.scrollTop = node.offsetTop - state.anchor.offset;
		}
		if (state.greeted && Date.now() > state.backlogUntil) endSeeking(state);
		lastTop = scroller.scrollTop;
	}

	function draw({ chat, say }, state) {
		if (drawn !== state) log.replaceChildren();
		drawn = state;
		syncList(log, rowsOf(chat, state), ({ key }) => key, (row) => rowElement(row, say), (node, row) => refreshRow(node, row, say));
		drawPending(chat, say);
		const empty = state.entries.length === 0;
		$('oldest').hidden = empty ? chat.connection.phase !== 'connected' || !state.greeted : state.view.from > 0 || !state.oldestReached;
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
			changed();
		},
	};
}

/** @returns {any} */
function rowElement({ kind, entry, ...row }, say) {
	if (kind === 'message') return messageElement(entry, row, say);
	const className = kind === 'removed' ? 'gap quiet' : kind;
	if (kind === 'gap') return element('p', { className, textContent: say(entry.reason === 'expired' ? 'gapExpired' : 'gapUnknown') });
	return element('p', { className }, element('span', { textContent: kind === 'new' ? say('newLine') : '' }));
}

function refreshRow(node, { kind, entry, n }, say) {
	if (kind === 'day') setText(node.firstChild, say.day(entry.sentAt));
	if (kind === 'removed') setText(node.firstChild, say('removed', { n }));
}

/** @param {any} row */
function messageElement(entry, row, say) {
	const { head, own, mention, timed } = row;
	const hue = hueOf(entry.author ?? entry.name);
	const name = element('button', { type: 'button', className: 'name', dir: 'auto', tabIndex: -1, textContent: entry.name, dataset: { insert: entry.name } });
	const heading = element('p', { className: head ? 'heading' : 'heading again' }, name);
	if (!entry.member) heading.append(element('span', { className: 'tag', textContent: say('viaApi') }));
	if (head && entry.changed) heading.append(element('span', { className: 'tag changed', textContent: say('differentPerson') }));
	const time = element('time', { dateTime: new Date(entry.sentAt).toISOString(), textContent: say.time(entry.sentAt) });
	if (head) heading.append(time);
	const text = element('div', { className: 'text', dir: 'auto' }, ...tokensOf(entry.text).map(tokenElement));
	const more = element('button', { type: 'button', className: 'more', tabIndex: -1, ariaHasPopup: 'menu', ariaLabel: say('actions') });
	const line = element('div', { className: 'line' }, element('div', { className: 'bubble' }, text), ...(timed && !head ? [time] : []), more);
	const className = ['message', head && 'head', own && 'own', mention && 'mention'].filter(Boolean).join(' ');
	const node = element('div', { className, title: say.full(entry.sentAt), dataset: { id: entry.eventId } }, head ? avatarOf(entry.name, hue) : element('span'), heading, line);
	node.style.setProperty('--hue', String(hue));
	return node;
}

/** @param {import('./text.js').Token} token */
function tokenElement({ kind, text, tokens = [], language = '' }) {
	const inner = () => tokens.map(tokenElement);
	switch (kind) {
		case 'link': return element('a', { href: text, textContent: text, dir: 'ltr', target: '_blank', rel: 'noopener noreferrer' });
		case 'code': return element('code', { textContent: text });
		// A block that is scrolled sideways has to be reached by keyboard.
		case 'block': return element('pre', { dir: 'ltr', tabIndex: 0, dataset: language ? { language } : {} }, element('code', { textContent: text }));
		case 'quote': return element('blockquote', {}, ...inner());
		case 'bold': return element('strong', {}, ...inner());
		case 'italic': return element('em', {}, ...inner());
		default: return text;
	}
}

function drawPending({ pending, open, connection }, say) {
	const shown = pending.filter(({ room, seenAs }) => room === open && !seenAs);
	$('pending').hidden = shown.length === 0;
	syncList($('pending'), shown, ({ key }) => key, (item) => pendingElement(item, say), (node, item) => updatePending(node, item, connection, say));
}

function pendingElement({ key, text }, say) {
	const buttons = ['retry', 'discard'].map((action) => element('button', { type: 'button', className: 'plain', textContent: say(action), dataset: { action, key } }));
	return element('li', {}, element('div', { className: 'text', dir: 'auto', textContent: text }), element('p', { className: 'foot' }, element('span'), ...buttons));
}

function updatePending(node, { status, error, retryAt }, { phase }, say) {
	const [words, retry, discard] = node.lastChild.children;
	const limited = status === 'queued' && error?.code === 'too-many-messages';
	const n = Math.max(1, Math.ceil((retryAt - Date.now()) / 1000));
	const idle = status === 'failed' || status === 'queued';
	const waiting = say(phase === 'connected' && retryAt < Date.now() ? 'inLine' : 'queued');
	setText(words, limited ? say('rateLimited', { n }) : error && idle ? say.error({ ...error, name: error.name ?? '' }) : idle ? waiting : say('sending'));
	node.className = status;
	retry.hidden = !idle || limited;
	discard.hidden = !idle;
}
