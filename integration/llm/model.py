"""Writes a language model of the llama architecture with random weights: half a megabyte that generates gibberish at
thousands of tokens a second, in the format that real ones have."""

import gguf
import numpy

WIDTH, LAYERS, HEADS, INNER, CONTEXT = 64, 2, 4, 128, 512
SYLLABLES = [f"▁{start}{end}" for start in ("ka", "lo", "mi", "ne", "ru", "ta") for end in ("", "n", "s", "to", "ri", "l")]
CONTROL = ["<unk>", "<s>", "</s>"]
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]


def write(path, seed):
    tokens = CONTROL + BYTES + SYLLABLES
    kinds = [gguf.TokenType.UNKNOWN] + 2 * [gguf.TokenType.CONTROL]
    kinds += len(BYTES) * [gguf.TokenType.BYTE] + len(SYLLABLES) * [gguf.TokenType.NORMAL]
    model = gguf.GGUFWriter(path, "llama")
    model.add_name("gibberish")
    model.add_context_length(CONTEXT)
    model.add_embedding_length(WIDTH)
    model.add_block_count(LAYERS)
    model.add_feed_forward_length(INNER)
    model.add_head_count(HEADS)
    model.add_head_count_kv(HEADS)
    model.add_layer_norm_rms_eps(1e-5)
    model.add_rope_dimension_count(WIDTH // HEADS)
    model.add_vocab_size(len(tokens))
    model.add_tokenizer_model("llama")
    model.add_token_list(tokens)
    model.add_token_scores([0.0] * len(tokens))
    model.add_token_types(kinds)
    model.add_unk_token_id(0)
    model.add_bos_token_id(1)
    model.add_eos_token_id(2)
    model.add_chat_template("{% for message in messages %}{{ message['content'] }}{% endfor %}")
    for name, tensor in tensors(len(tokens), numpy.random.default_rng(seed)):
        model.add_tensor(f"{name}.weight", tensor.astype(numpy.float32))
    model.write_header_to_file()
    model.write_kv_data_to_file()
    model.write_tensors_to_file()
    model.close()


def tensors(words, random):
    yield "token_embd", random.standard_normal((words, WIDTH))
    for layer in range(LAYERS):
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            yield f"blk.{layer}.{name}", 0.1 * random.standard_normal((WIDTH, WIDTH))
        yield f"blk.{layer}.ffn_gate", 0.1 * random.standard_normal((INNER, WIDTH))
        yield f"blk.{layer}.ffn_up", 0.1 * random.standard_normal((INNER, WIDTH))
        yield f"blk.{layer}.ffn_down", 0.1 * random.standard_normal((WIDTH, INNER))
        for name in ("attn_norm", "ffn_norm"):
            yield f"blk.{layer}.{name}", numpy.ones(WIDTH)
    yield "output_norm", numpy.ones(WIDTH)
    yield "output", 0.1 * random.standard_normal((words, WIDTH))
