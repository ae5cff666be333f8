// The side panel, and the line at the top about the connection.

import { $, avatarOf, element, paint, setText, syncList } from './browser.js';
import { fragmentOf, hueOf, isRoomName, sameName } from './text.js';
import { lastOf } from './state.js';

const PEOPLE_LISTED = 200; // The count tells of the rest.

const narrow = matchMedia('(max-width: 48rem), (max-height: 30rem)');
narrow.addEventListener('change', () => showSide(false));

export function showSide(open) {
	const over = open && narrow.matches;
	document.body.classList.toggle('side-open', over);
	for (const id of ['bar', 'main']) $[id].inert = over;
	$.menu.ariaExpanded = String(over);
	if (over) $.sideClose.focus();
}

export function closeSide() {
	if (!$.main.inert) return;
	showSide(false);
	$.menu.focus();
}

export function drawPanel(page, state) {
	drawConnection(page, state);
	drawRooms(page);
	drawPeople(page, state);
	drawYou(page);
}

function drawConnection({ chat, say, naming }, { greeted, memberCount }) {
	const { connection, open } = chat;
	const bad = !isRoomName(open);
	const { until = 0 } = connection;
	const problem = bad ? { message: say('badRoom') } : chat.refused.get(open) ?? connection.problem;
	const phase = bad || chat.refused.has(open) ? 'refused' : connection.phase === 'connected' && !greeted ? 'connecting' : connection.phase;
	$.statusDot.className = `dot ${phase}`;
	setText($.status, say(phase));
	// Only read out.
	$.status.classList.toggle('unseen', phase === 'connected');
	$.here.hidden = phase !== 'connected';
	setText($.here, say('here', { n: memberCount }));
	// Not in the live region, which would read out each second.
	setText($.countdown, until > Date.now() ? say('inSeconds', { n: Math.ceil((until - Date.now()) / 1000) }) : '');
	$.notice.hidden = !problem || naming;
	setText($.noticeText, problem ? say.error(problem) : '');
	$.tryAgain.hidden = bad;
}

function drawRooms({ chat, say, listed, followed, leaveRoom }) {
	const rowOf = (room) => {
		const { memberCount, lastMessageAt } = listed.find((other) => other.room === room) ?? {};
		const state = chat.rooms.get(room);
		return { room, memberCount, unread: state?.unread, mentioned: state?.mentioned, at: (state && lastOf(state).sentAt) || lastMessageAt || 0 };
	};
	const sorted = (rooms) => rooms.map(rowOf).sort((a, b) => b.at - a.at || a.room.localeCompare(b.room));
	const own = [...new Set([...chat.asked, ...followed(), chat.open])];
	const others = listed.map(({ room }) => room).filter((room) => !own.includes(room));
	const show = (id, rooms, leave) => syncList($[id], sorted(rooms), ({ room }) => room, ({ room }) => {
		const link = element('a', { dir: 'auto', href: fragmentOf(room) }, room);
		const button = element('button.leave', { ariaLabel: say('leave', { room }), onclick: () => leaveRoom(room) });
		return element('li', {}, link, element('span.badge', { ariaHidden: 'true' }), button);
	}, ({ children: [link, badge, button] }, { room, memberCount, unread, mentioned }) => {
		const words = [room, unread && say('unread', { n: unread }), mentioned && say('mentioned', { n: mentioned })];
		link.ariaCurrent = room === chat.open ? 'page' : null;
		link.ariaLabel = unread ? words.filter(Boolean).join(', ') : null;
		link.classList.toggle('unread', unread > 0);
		badge.classList.toggle('mentioned', mentioned > 0);
		setText(badge, mentioned ? `@${mentioned}` : unread || (id === 'other-rooms' && memberCount) || '');
		button.hidden = !leave;
	});
	show('rooms', own, own.length > 1);
	show('other-rooms', others, false);
	$.others.hidden = !others.length;
}

function drawPeople({ chat, say }, { members, authors, memberCount, listenerCount }) {
	const hue = (name) => hueOf(authors.get(name.toLowerCase()) ?? name);
	const names = [...members.values()].sort((a, b) => a.localeCompare(b)).slice(0, PEOPLE_LISTED);
	syncList($.people, names, (name) => name, (name) => {
		const person = element('button.person', { dir: 'auto', tabIndex: -1, dataset: { insert: name } }, name);
		return element('li', {}, avatarOf(name, hue(name)), person);
	}, (item, name) => {
		item.classList.toggle('self', sameName(name, chat.name));
		paint(item.firstChild, name, hue(name));
	});
	setText($.memberCount, memberCount || '');
	const rest = [[memberCount - names.length, 'andMore'], [listenerCount, 'listening']];
	setText($.listeners, rest.filter(([n]) => n > 0).map(([n, key]) => say(key, { n })).join(' · '));
}

function drawYou({ chat, say, local, moderation: { available, moderator }, moderate, stopModerating, showBans }) {
	$.own.hidden = !chat.name;
	setText($.ownName, chat.name);
	paint($.ownAvatar, chat.name, hueOf([...chat.authors].at(-1) ?? chat.name));
	$.notify.value = local.get('notify') ?? 'off';
	$.sound.checked = Boolean(local.get('sound'));
	const actions = moderator ? [['bans', showBans], ['logOut', stopModerating]] : [['moderate', moderate]];
	$.moderation.hidden = !available;
	$.moderator.hidden = !moderator;
	syncList($.moderationActions, actions, ([key]) => key, ([key, act]) => element('button.plain', { onclick: act }, say(key)));
}
