"""Writes SIPp scenarios step by step."""

from xml.sax.saxutils import quoteattr

VIA = "Via: SIP/2.0/[transport] [local_ip]:[local_port];branch={branch}"
CONTACT = "Contact: <sip:{user}@[local_ip]:[local_port];transport=[transport]>"
PIDF = "application/pidf+xml"
BODY = '<presence xmlns="urn:ietf:params:xml:ns:pidf" entity="sip:alice@127.0.0.1"><note>{}</note></presence>'


class Scenario:
    """Steps of one call. Whatever a step captures stays available as [$name]."""

    def __init__(self, name):
        self.name, self.steps, self.names, self.branches = name, [], set(), 0

    def xml(self):
        reference = f'  <Reference variables="{",".join(sorted(self.names))}"/>\n' if self.names else ""
        return ('<?xml version="1.0" encoding="UTF-8"?>\n' f'<scenario name="{self.name}">\n' + "".join(self.steps) + reference
                + "</scenario>\n").encode()

    def pause(self, milliseconds):
        self.steps.append(f'  <pause milliseconds="{milliseconds}"/>\n')

    def branch(self):
        """A branch of its own: SIPp's [branch] is the same in all requests of a call until a response came."""
        self.branches += 1
        return f"z9hG4bK-[pid]-[call_number]-{self.branches}"

    def send(self, *lines, body="", type=PIDF):
        lines = [*lines, f"Content-Type: {type}" if body and type else None, "Content-Length: [len]" if body else "Content-Length: 0"]
        text = "\n".join(line for line in lines if line)
        self.steps.append(f"  <send>\n<![CDATA[\n{text}\n\n{body}]]>\n  </send>\n")

    def respond(self, status, *lines, tag=None):
        """Answers the request received last."""
        self.send(f"SIP/2.0 {status}", "[last_Via:]", "[last_From:]", f"[last_To:]{';tag=' + tag if tag else ''}",
                  "[last_Call-ID:]", "[last_CSeq:]", *lines)

    def recv(self, what, routes=False, optional=False, timeout=None, keep=None, body=None, **headers):
        """Waits for a request (a method) or a response (a number). `headers`: a regular expression each, with _ for -;
        None: the header must be absent. `keep`: name to regular expression and header, whose first group is kept."""
        kind = f'response="{what}"' if isinstance(what, int) else f'request="{what}"'
        kind += ' rrs="true"' if routes else ""
        kind += ' optional="true"' if optional else ""
        kind += f' timeout="{timeout}"' if timeout else ""
        actions = []
        for header, pattern in headers.items():
            header = header.replace("_", "-")
            name = f"v{len(self.names)}"
            self.names.add(name)
            if pattern is None:
                actions.append(f'<ereg regexp="." search_in="hdr" header="{header}:" check_it_inverse="true" assign_to="{name}"/>')
            else:
                actions.append(f'<ereg regexp={quoteattr(pattern)} search_in="hdr" header="{header}:" check_it="true" assign_to="{name}"/>')
        for name, (pattern, header) in (keep or {}).items():
            whole = f"w{len(self.names)}"
            self.names |= {name, whole}
            where = f'search_in="hdr" header="{header}:"' if header else 'search_in="msg"'
            actions.append(f'<ereg regexp={quoteattr(pattern)} {where} check_it="true" assign_to="{whole},{name}"/>')
        if body:
            name = f"v{len(self.names)}"
            self.names.add(name)
            actions.append(f'<ereg regexp={quoteattr(body)} search_in="body" check_it="true" assign_to="{name}"/>')
        inner = "\n    <action>\n" + "".join(f"      {action}\n" for action in actions) + "    </action>\n  " if actions else ""
        self.steps.append(f"  <recv {kind}>{inner}</recv>\n")


class Notifier(Scenario):
    """SIPp as the notifier of a subscription."""

    def __init__(self, name, event="presence"):
        super().__init__(name)
        self.event, self.cseq = event, 0

    def subscribe(self, keep=None, **headers):
        """A SUBSCRIBE of ours; remembers who sent it and where it wants to be reached."""
        self.recv("SUBSCRIBE", keep={
            "from": ("^ *(.*)$", "From"), "to": ("^ *([^;]*)", "To"), "target": ("<([^>]*)>", "Contact"), **(keep or {}),
        }, **headers)

    def answer(self, status="200 OK", *lines, tag="a", expires=600, in_dialog=False):
        accepted = status.startswith("2")
        self.respond(status, CONTACT.format(user="sipp") if accepted else None,
                     f"Expires: {expires}" if accepted and expires is not None else None, *lines, tag=None if in_dialog else tag)

    def notify(self, state, *lines, tag="a", cseq=None, branch=None, event=None, body="", expect=200, user="sipp", type=PIDF,
               call_id="[call_id]", uri="[$target]", wait=True):
        if cseq is None:
            self.cseq += 1
        else:
            self.cseq = max(self.cseq, cseq)
        self.send(
            f"NOTIFY {uri} SIP/2.0", VIA.format(branch=branch or self.branch()), "Max-Forwards: 70",
            f"From: [$to];tag={tag}", "To: [$from]", f"Call-ID: {call_id}", f"CSeq: {cseq or self.cseq} NOTIFY",
            CONTACT.format(user=user), f"Event: {event or self.event}", f"Subscription-State: {state}" if state else None,
            *lines, body=body, type=type)
        if wait:
            self.recv(expect)

    def established(self, expires=600, body="here"):
        """SUBSCRIBE, 200, NOTIFY active."""
        self.subscribe()
        self.answer(expires=expires)
        self.notify(f"active;expires={expires}", body=BODY.format(body))

    def unsubscribed(self, tag="a", **headers):
        """The unsubscription, and the NOTIFY that ends it."""
        self.recv("SUBSCRIBE", Expires="^ *0 *$", To=f"tag={tag}", **headers)
        self.answer(expires=0, in_dialog=True)
        self.notify("terminated;reason=timeout", tag=tag)


class Subscriber(Scenario):
    """SIPp as a subscriber."""

    def __init__(self, name, event="presence", accept=PIDF):
        super().__init__(name)
        self.event, self.accept, self.cseq, self.tag = event, accept, 0, None

    def subscribe(self, expires=600, *lines, uri=None, branch=None, cseq=None, event=None, accept=None, contact="sipp", to=None,
                  leave_out=(), forwards=70):
        if cseq is None:
            self.cseq += 1
        to = to if to is not None else ";tag=[$tag]" if self.tag else ""
        fields = {
            "Max-Forwards": str(forwards),
            "From": "<sip:sipp@[local_ip]>;tag=[pid]s[call_number]",
            "To": f"<sip:[service]@[remote_ip]:[remote_port]>{to}",
            "Call-ID": "[call_id]",
            "CSeq": f"{self.cseq if cseq is None else cseq} SUBSCRIBE",
            "Contact": CONTACT.format(user=contact).split(": ", 1)[1],
            "Event": event or self.event,
            "Accept": accept or self.accept,
            "Expires": None if expires is None else str(expires),
        }
        uri = uri or ("[next_url]" if self.tag else "sip:[service]@[remote_ip]:[remote_port]")
        self.send(f"SUBSCRIBE {uri} SIP/2.0", VIA.format(branch=branch or self.branch()) + ";rport",
                  *(f"{name}: {value}" for name, value in fields.items() if value is not None and name not in leave_out), *lines)

    def response(self, status, **headers):
        first = status == 200 and not self.tag
        self.recv(status, routes=status == 200, keep={"tag": (";tag=([^;]+)", "To")} if first else None, **headers)
        if first:
            self.tag = True

    def take_notify(self, state, answer="200 OK", *lines, **headers):
        self.recv("NOTIFY", Subscription_State=f"^ *{state}", **headers)
        self.respond(answer, *lines)

    def established(self, expires=600, **headers):
        self.subscribe(expires)
        self.response(200, Expires="^ *[1-9][0-9]* *$")
        self.take_notify("active;(.*;)?expires=[1-9]", **headers)

    def unsubscribed(self):
        self.subscribe(0)
        self.response(200, Expires="^ *0 *$")
        self.take_notify("terminated;(.*;)?reason=timeout")
