// What people do and the stream tells. The views then follow.

import {
	answer, applyEvent, arrive, getRoom, isAfter, isOwn, leave, openIn, readUpTo, setConnection, setRefused,
} from './state.js';
import { addPending, dropPending, isAway, openOutbox, request, restorePending, settlePending } from './network.js';
import { fragmentOf, isPrivate, isRoomName, mentions, roomAmong, roomOfFragment, roomOfInput } from './text.js';
import {
	$, closeSide, copyText, draft, drawComposer, drawConnection, drawPeople, drawRooms, drawTitle, drawYou, focusWriting, listenToText, nameOf, page, say, showSide, translate,
	typesOnScreen,
} from './views.js';
import { chat, current, feed, followed, follows, joinAs, local, me, roomHere, saveReads, setFollowed, tab, tabs, told, words } from './start.js';
import { askForPrivate, askPassword, askToLeave, showBans, takeCode } from './dialogs.js';
import { onLogKey, onMessageClick, openLog } from './log.js';

const ROOMS_MILLIS = 15_000;
const NOTIFIED_CHARACTERS = 200;
// Between two.
const BEEP_MILLIS = 1000;
// A frame. A hidden page gets none.
const DRAW_MILLIS = 16;

translate(await words);
const outbox = openOutbox(chat, () => (savePending(), changed()));
const log = openLog(changed);
// The room just opened.
let toFollow = roomHere();
let drawing = false;
let beepedAt = 0;

const savePending = () => tab.set('pending', chat.pending);
// What a closing tab has not sent is sent by the next that opens. Sent twice, under its key, it is stored once.
const leavePending = () => local.set('unsent', [...(local.get('unsent') ?? []), ...chat.pending.filter(({ status }) => status !== 'stored')]);
const adoptPending = () => (restorePending(chat, local.get('unsent') ?? []), local.set('unsent'), savePending());
const showDraft = () => ($.text.value = local.get(`draft ${chat.open}`) ?? '');
const saveDraft = () => local.set(`draft ${chat.open}`, $.text.value);
// Another tab may have sent its own, and removed it.
const keepDraft = () => $.text.value && saveDraft();

// ---- Rooms and names

const knownRooms = () => [...chat.rooms.keys(), ...page.listed.map(({ room }) => room)];

function openFragment() {
	takeCode();
	const room = roomHere(knownRooms());
	if (location.hash && roomOfFragment(location.hash) !== room) history.replaceState(null, '', fragmentOf(room));
	openRoom(room);
	askRooms();
	update();
	showSide('');
	if (!typesOnScreen()) focusWriting();
}

function openRoom(room) {
	toFollow = room;
	if (chat.open === room) return;
	keepDraft();
	openIn(chat, room);
	saveReads();
	attend();
	showDraft();
	page.naming = false;
	const { code, name } = page.nameError;
	// It may be free here.
	if (code === 'name-taken') setName(name);
	else if (chat.refused.has(room)) feed.retry(room);
	tabs.touch();
}

const attend = () => (isAway() ? leave(current()) : arrive(chat, current()));

function setName(name) {
	page.nameError = {};
	joinAs(name);
}

function goNameless(problem) {
	const { name } = chat;
	setName('');
	page.naming = true;
	page.nameError = { ...problem, name };
	$.name.value = name;
	update();
	if (!typesOnScreen() && !($.text.value && document.activeElement === $.text)) $.name.focus();
	changed();
}

function takeName() {
	const name = $.name.value.trim();
	if (!name) return;
	tab.set('name', name);
	local.set('name', name);
	for (const item of chat.pending) if (item.status === 'queued' && !item.tries) item.name = name;
	savePending();
	setName(name);
	toFollow = chat.open;
	askName(false);
}

function askName(asking) {
	$.settings.hidePopover();
	page.naming = asking;
	if (asking) $.name.value = chat.name;
	showSide('');
	update();
	focusWriting();
}

function leaveRoom(room) {
	setFollowed(room, null);
	if (isPrivate(room)) {
		if (room === chat.open) $.text.value = '';
		local.set(`draft ${room}`);
	}
	adoptPending();
	for (const item of chat.pending) if (item.room === room) dropPending(chat, item);
	savePending();
	// Going back does not lead to it.
	if (room === chat.open) location.replace(fragmentOf([...followed(), ...chat.asked].find((other) => other !== room) ?? 'lobby'));
	changed();
}

/** The server chooses it. */
function openFirstRoom() {
	const source = new EventSource('chat?history=0');
	source.onerror = source.close;
	source.addEventListener('chat-room-connected', ({ data }) => {
		source.close();
		if (!location.hash) openRoom(JSON.parse(data).room);
	});
}

// ---- What the stream tells

function take(what) {
	const { event, data, nameless, refused, connection } = what;
	const { phase } = chat.connection;
	if (nameless) return goNameless(nameless);
	if (event) noteMessage(data, applyEvent(chat, what));
	else if (refused) takeRefusal(refused);
	else setConnection(chat, connection);
	if (phase !== 'connected' && chat.connection.phase === 'connected') {
		outbox.wake();
		askMe();
	}
	if (event === 'chat-room-connected') {
		if (isAfter(follows()[data.room]?.read ?? '', data.eventId)) setFollowed(data.room, { read: data.eventId });
		outbox.flush();
	}
	if (toFollow && current().settled) {
		if (toFollow === chat.open && !followed().includes(toFollow)) setFollowed(toFollow, { read: current().read });
		toFollow = '';
	}
	changed();
}

function takeRefusal({ room, problem }) {
	setRefused(chat, room, problem);
	const { code } = problem ?? {};
	if (['room-not-offered', 'bad-room'].includes(code) && follows()[room]) setFollowed(room, null);
	if (room !== chat.open) return;
	if (code === 'name-taken') goNameless(problem);
	else if (code === 'room-not-offered' && !location.hash) openFirstRoom();
}

function noteMessage(entry, fresh) {
	if (entry.text !== undefined) settlePending(chat, entry);
	const mode = local.get('notify');
	for (const message of fresh) {
		if (isOwn(chat, message) || message.removed) continue;
		const seen = message.room === chat.open && !isAway();
		if (seen) log.speak(message);
		const wanted = mode === 'all' || (mode === 'mentions' && mentions(message.text, chat.name));
		if (wanted && !seen && tabs.notifies(message.room)) notify(message);
	}
}

async function notify({ room, name, text, eventId: tag }) {
	if (local.get('sound') && Date.now() - beepedAt > BEEP_MILLIS) {
		beepedAt = Date.now();
		beep();
	}
	const title = `${name} · ${nameOf(room)}`;
	// Under one tag it is shown once.
	const options = { body: text.slice(0, NOTIFIED_CHARACTERS), tag, data: room };
	try {
		new Notification(title, options).addEventListener('click', () => goToNotified(room));
	} catch {
		// Android leaves that to a service worker.
		(await navigator.serviceWorker?.ready)?.showNotification(title, options).catch(() => {});
	}
}

function goToNotified(room) {
	window.focus();
	location.hash = fragmentOf(room);
}

function beep() {
	const context = new AudioContext();
	const tone = context.createOscillator();
	tone.connect(context.destination);
	tone.onended = () => context.close();
	tone.start();
	tone.stop(context.currentTime + 0.1);
}

async function askRooms() {
	if (document.hidden) return;
	page.listed = (await request('rooms')).body?.rooms ?? page.listed;
	changed();
}

async function askMe(asked = request('me')) {
	const isFirst = page.me.asked;
	page.me = (await asked).body ?? {};
	if (page.me.user && chat.name !== page.me.user && !page.nameError.code) setName(page.me.user);
	update();
	if (isFirst && !typesOnScreen()) focusWriting();
	const { user, moderators } = page.me;
	// Where a proxy names the users, moderators may have no password.
	if (user && moderators) page.me.noPassword = (await request('moderator', 'POST', {})).status === 404;
	update();
}

// ---- What people do

function send({ split = false } = {}) {
	drawComposer();
	if (split ? $.split.hidden : $.send.disabled) return;
	for (const part of draft.parts) addPending(chat, part);
	savePending();
	tabs.touch();
	$.text.value = '';
	saveDraft();
	answer(current());
	outbox.flush();
	changed();
}

/** Who spoke last comes first. */
function likelyNames() {
	const names = [...current().entries.map(({ name }) => name ?? '').reverse(), ...current().members.values()];
	const seen = new Set(['', chat.name.toLowerCase()]);
	return names.filter((name) => !seen.has(name.toLowerCase()) && seen.add(name.toLowerCase()));
}

async function invite() {
	const url = location.origin + location.pathname + fragmentOf(chat.open);
	if (!isPrivate(chat.open) && typesOnScreen() && navigator.share) return navigator.share({ title: nameOf(chat.open), url }).catch(() => {});
	await copyText(url);
}

function goToRoom() {
	const input = $.roomInput;
	const room = roomAmong(knownRooms(), roomOfInput(input.value));
	input.setCustomValidity(isRoomName(room) ? '' : say('badRoom'));
	if (!input.reportValidity()) return;
	input.value = '';
	location.hash = fragmentOf(room);
}

/** Without a key it is about all that waits, which goes back into the field. */
function onPendingClick({ target }) {
	const { action, key } = target.dataset;
	const items = chat.pending.filter((item) => (key ? item.key === key : item.status === 'queued' && item.room === chat.open));
	for (const item of action ? items : []) action === 'discard' ? dropPending(chat, item) : outbox.retry(item);
	if (action && !key) {
		$.text.value = [...items.map(({ text }) => text), $.text.value].filter(Boolean).join('\n\n');
		saveDraft();
	}
	savePending();
	update();
	focusWriting();
}

// ---- The document

function changed() {
	if (drawing) return;
	drawing = true;
	setTimeout(() => {
		drawing = false;
		update();
		log.fill();
	}, DRAW_MILLIS);
}

function update() {
	for (const draw of [drawComposer, log.draw, drawConnection, drawRooms, drawPeople, drawYou, drawTitle]) draw();
}

function listenToControls() {
	listenToText(send, likelyNames);
	document.onsubmit = (event) => event.preventDefault();
	$.composer.onsubmit = () => (send(), typesOnScreen() || focusWriting());
	// The field keeps the focus.
	$.send.onmousedown = (event) => event.preventDefault();
	$.split.onclick = () => (send({ split: true }), focusWriting());
	$.text.oninput = () => (saveDraft(), drawComposer());
	$.join.onsubmit = takeName;
	$.join.onkeydown = ({ key }) => void (key === 'Escape' && chat.name && askName(false));
	$.joinCancel.onclick = () => askName(false);
	$.rename.onclick = () => askName(true);
	$.notify.onchange = async ({ target: { value } }) => {
		local.set('notify', value);
		if (value !== 'off') {
			await window.Notification?.requestPermission();
			navigator.serviceWorker?.register('notify.js').catch(() => {});
		}
		changed();
	};
	$.sound.onchange = ({ target: { checked } }) => {
		local.set('sound', checked);
		if (checked) beep();
	};
	$.moderate.onclick = () => (page.me.moderator ? request('moderator', 'DELETE').then(() => askMe()) : askPassword(() => askMe()));
	$.bans.onclick = showBans;
	$.roomForm.onsubmit = goToRoom;
	$.roomInput.oninput = () => $.roomInput.setCustomValidity('');
	$.rooms.onclick = ({ target: { ariaCurrent, dataset: { leave: room } } }) => {
		if (ariaCurrent) closeSide();
		else if (room) askToLeave(room, () => leaveRoom(room));
	};
	$.newPrivate.onclick = askForPrivate;
	$.tryAgain.onclick = () => (page.me.user && !chat.name ? setName(page.me.user) : feed.retry(chat.open));
	$.jump.onclick = () => (log.jump(), update(), typesOnScreen() || focusWriting());
	$.menu.onclick = () => showSide('side');
	$.here.onclick = () => showSide('crowd');
	$.language.onchange = ({ target: { value } }) => (local.set('language', value), location.reload());
	for (const node of document.querySelectorAll('#shade, .close')) node.addEventListener('click', closeSide);
	$.invite.onclick = $.inviteEmpty.onclick = invite;
	$.pending.onclick = $.waiting.onclick = onPendingClick;
	$.log.onclick = onMessageClick;
	$.people.onclick = (event) => (event.target.matches('.more') || showSide(''), onMessageClick(event));
	$.scroller.onkeydown = onLogKey;
}

function listenToBrowser() {
	const wake = ({ type }) => {
		attend();
		tabs.touch();
		changed();
		if (document.hidden) return saveReads();
		feed.wake(type === 'online');
		outbox.wake();
		askRooms();
	};
	document.onvisibilitychange = window.ononline = wake;
	window.onfocus = window.onblur = () => (attend(), tabs.touch(), changed());
	window.onoffline = () => {
		// The stream may still live: its next event says so.
		setConnection(chat, { phase: 'offline' });
		changed();
	};
	window.onpageshow = ({ persisted }) => persisted && (adoptPending(), tabs.leave(false));
	// Asks.
	window.onbeforeunload = () => chat.pending.length > 0 || undefined;
	window.onpagehide = () => (keepDraft(), leavePending(), saveReads(), tabs.leave(true));
	window.onstorage = ({ key, oldValue, newValue }) => {
		// The same draft, sent in another tab.
		const sent = key?.endsWith(` draft ${chat.open}`) && !newValue && oldValue === JSON.stringify($.text.value);
		if (sent) return ($.text.value = '', drawComposer());
		if (!key?.endsWith(' followed')) return;
		for (const [room, { read }] of Object.entries(follows())) if (chat.rooms.has(room)) readUpTo(getRoom(chat, room), read);
		feed.reopen();
		changed();
	};
	window.onhashchange = openFragment;
	navigator.serviceWorker?.addEventListener('message', ({ data }) => goToNotified(data));
	window.onkeydown = ({ key, ctrlKey, metaKey, altKey, target }) => {
		if (key === 'Escape') closeSide();
		const types = key.length === 1 && key !== ' ' && !altKey && (key.toLowerCase() === 'v' || !(ctrlKey || metaKey));
		if (types && !$.main.inert && !target.closest('input, textarea, select, dialog, [popover]')) focusWriting();
	};
	setInterval(() => {
		tabs.tick();
		feed.tick();
		saveReads();
		if (chat.connection.phase !== 'connected' || chat.pending.length || current().seeking) changed();
	}, 1000);
	setInterval(askRooms, ROOMS_MILLIS);
}

restorePending(chat, tab.get('pending') ?? []);
adoptPending();
attend();
showDraft();
listenToControls();
listenToBrowser();
$.app.hidden = false;
told.take = take;
told.waiting.forEach(take);
openFragment();
askMe(me);
outbox.flush();
